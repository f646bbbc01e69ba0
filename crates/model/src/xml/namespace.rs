//! Moving an element into a namespace and out of it, all else staying as it was written. That
//! is how libvirt keeps the elements of other programs: with a prefix inside, without outside.

use std::ops::Range;

use roxmltree::Node;

use super::read::declarations;
use super::{Document, DocumentError, Kind, escape_attribute};

/// The element of a text, with what of it has no namespace put into this one.
///
/// `prefix` is a valid name.
pub(crate) fn into_namespace(xml: &str, prefix: &str, uri: &str) -> Result<String, DocumentError> {
    let document = Document::parse(xml)?;
    let root = document.root_node();
    let (colon, declaration) =
        (format!("{prefix}:"), format!(" xmlns:{prefix}='{}'", escape_attribute(uri)));
    let mut edits = Vec::new();
    for node in root.descendants().filter(|node| node.is_element()) {
        if node.tag_name().namespace().is_none() {
            let put = |name: Range<usize>| (name.start..name.start, colon.as_str());
            edits.extend(names(xml, &node).into_iter().map(put));
        }
    }
    let elements = root.descendants().filter(|node| node.is_element());
    let mut declared = elements.filter_map(|node| node.lookup_namespace_uri(Some(prefix)));
    if let Some(other) = declared.find(|declared| *declared != uri) {
        let message = format!("'{prefix}' is declared already, as '{other}'");
        return Err(DocumentError::whole(Kind::Invalid, message));
    }
    if root.lookup_namespace_uri(Some(prefix)).is_none() {
        let name = names(xml, &root).into_iter().next();
        edits.extend(name.map(|name| (name.end..name.end, declaration.as_str())));
    }
    let moved = edited(xml, root.range(), edits);
    let there = Document::parse(&moved)?;
    if there.root_node().tag_name().namespace() == Some(uri) {
        return Ok(moved);
    }
    Err(DocumentError::whole(
        Kind::Invalid,
        format!("<{}> is of another namespace than '{uri}'", root.tag_name().name()),
    ))
}

/// The element of a text, with what of it is in this namespace taken out of it. Its declaration
/// stays where an attribute needs it.
pub(crate) fn from_namespace(xml: &str, uri: &str) -> Result<String, DocumentError> {
    let document = Document::parse(xml)?;
    let root = document.root_node();
    let elements = || root.descendants().filter(|node| node.is_element());
    let needed =
        elements().flat_map(|node| node.attributes()).any(|it| it.namespace() == Some(uri));
    let mut edits = Vec::new();
    for node in elements() {
        let names = names(xml, &node);
        if node.tag_name().namespace() == Some(uri) {
            for name in &names {
                if let Some(colon) = xml[name.clone()].find(':') {
                    edits.push((name.start..name.start + colon + 1, ""));
                }
            }
        }
        let Some(name) = names.first() else { continue };
        for (prefix, range) in declarations(&xml[name.end..node.range().end]) {
            let of_uri = node.lookup_namespace_uri(prefix) == Some(uri);
            if of_uri && !(needed && prefix.is_some()) {
                edits.push((name.end + range.start..name.end + range.end, ""));
            }
        }
    }
    Ok(edited(xml, root.range(), edits))
}

/// Where an element's name stands: in its start tag, and in its end tag when it has one.
fn names(xml: &str, node: &Node<'_, '_>) -> Vec<Range<usize>> {
    let range = node.range();
    let element = &xml[range.clone()];
    let until = |start: usize| {
        let ends = |c: char| c.is_whitespace() || matches!(c, '>' | '/');
        let length = xml[start..].find(ends).unwrap_or(xml.len() - start);
        start..start + length
    };
    let end = if element.ends_with("/>") { None } else { element.rfind("</") };
    let end = end.map(|end| until(range.start + end + 2));
    [until(range.start + 1)].into_iter().chain(end).collect()
}

/// A part of a text with pieces of it replaced.
fn edited(xml: &str, part: Range<usize>, mut edits: Vec<(Range<usize>, &str)>) -> String {
    // Stable: what is put in at one place stays in order.
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut from) = (String::new(), part.start);
    for (range, new) in edits {
        out.push_str(&xml[from..range.start]);
        out.push_str(new);
        from = range.end;
    }
    out.push_str(&xml[from..part.end]);
    out
}
