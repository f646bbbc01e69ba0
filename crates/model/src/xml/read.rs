//! Reading. See [`super`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr;

use roxmltree::{Node, NodeId};

/// Longest document read, in bytes (libvirt's own limit of a string on the wire is 4 MiB).
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Deepest nesting read.
pub const MAX_DEPTH: usize = 64;

/// Most attributes of one element, namespace declarations included. The tree's cost grows with
/// their square.
pub const MAX_ATTRIBUTES: usize = 256;

/// Most namespace declarations in a document: every element that makes one copies all that are
/// in scope.
pub const MAX_NAMESPACES: usize = 256;

/// What sort of fault a document has; libvirt's clients branch on the number made of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Not well-formed, or too large (VIR_ERR_XML_ERROR 27).
    Malformed,
    /// A value or combination that makes no sense (VIR_ERR_XML_ERROR 27).
    Invalid,
    /// A name with a character that no name may have (VIR_ERR_XML_DETAIL 35).
    Detail,
    /// `<name>` is missing (VIR_ERR_NO_NAME 21).
    NoName,
    /// A value that libvirt reports as an internal error, such as a bad UUID (VIR_ERR_INTERNAL_ERROR 1).
    Internal,
    /// Understood, but not served (VIR_ERR_CONFIG_UNSUPPORTED 67).
    Unsupported,
}

/// What is wrong with a document, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}{}", Place(path, *line))]
pub struct DocumentError {
    /// The sort of fault.
    pub kind: Kind,
    /// What is wrong, in words.
    pub message: String,
    /// Path of the element or attribute, such as `/network/forward/@mode`; may be empty.
    pub path: String,
    /// Line in the document, from 1; 0 when it has none.
    pub line: u32,
}

struct Place<'a>(&'a str, u32);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            ("", 0) => Ok(()),
            ("", line) => write!(f, " (line {line})"),
            (path, 0) => write!(f, " (at {path})"),
            (path, line) => write!(f, " (at {path}, line {line})"),
        }
    }
}

impl DocumentError {
    /// A fault of the document as a whole.
    pub fn whole(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), path: String::new(), line: 0 }
    }
}

/// A well-formed document, and what of it has been taken.
#[derive(Debug)]
pub struct Document<'a> {
    tree: roxmltree::Document<'a>,
    taken: RefCell<HashSet<(NodeId, Option<usize>)>>,
}

impl<'a> Document<'a> {
    /// Reads text into a tree. No DTD, no entities of its own, bounded size and depth.
    pub fn parse(text: &'a str) -> Result<Self, DocumentError> {
        if text.len() > MAX_BYTES {
            return Err(DocumentError::whole(
                Kind::Malformed,
                format!("document has {} bytes, at most {MAX_BYTES} are read", text.len()),
            ));
        }
        bound_attributes(text)?;
        let tree = roxmltree::Document::parse(text).map_err(|fault| DocumentError {
            kind: Kind::Malformed,
            message: format!("not well-formed XML: {fault}"),
            path: String::new(),
            line: 0,
        })?;
        // Elements in document order, each with its depth known from its parent: no recursion,
        // and no walk to the root per element.
        let mut depth: Vec<usize> = Vec::new();
        for node in tree.descendants() {
            let of_parent = node.parent().map_or(0, |p| depth[p.id().get_usize()] + 1);
            if of_parent > MAX_DEPTH {
                return Err(DocumentError {
                    kind: Kind::Malformed,
                    message: format!("elements are nested more than {MAX_DEPTH} deep"),
                    path: String::new(),
                    line: tree.text_pos_at(node.range().start).row,
                });
            }
            depth.push(of_parent);
        }
        Ok(Self { tree, taken: RefCell::default() })
    }

    /// The root element, which must have this name.
    pub fn root(&self, name: &str) -> Result<Element<'_, 'a>, DocumentError> {
        let root = Element { document: self, node: self.tree.root_element() };
        self.take(root.node.id(), None);
        if root.name() == name && root.node.tag_name().namespace().is_none() {
            Ok(root)
        } else {
            Err(root.error(
                Kind::Invalid,
                format!("unexpected root element <{}>, expecting <{name}>", root.name()),
            ))
        }
    }

    /// Name of the root element.
    pub fn root_name(&self) -> &str {
        self.tree.root_element().tag_name().name()
    }

    /// The root element in the tree, whatever it is; nothing is taken.
    pub(super) fn root_node(&self) -> Node<'_, 'a> {
        self.tree.root_element()
    }

    /// Refuses the first element, attribute or text that nobody took.
    pub fn refuse_rest(&self) -> Result<(), DocumentError> {
        let taken = self.taken.borrow();
        for node in self.tree.root_element().descendants() {
            let element = Element { document: self, node };
            if node.is_element() {
                if !taken.contains(&(node.id(), None)) {
                    return Err(element.unsupported(format!("element <{}>", element.shown_name())));
                }
                for (place, attribute) in node.attributes().enumerate() {
                    if !taken.contains(&(node.id(), Some(place))) {
                        return Err(DocumentError {
                            kind: Kind::Unsupported,
                            message: format!(
                                "attribute '{}' of <{}>",
                                attribute.name(),
                                element.shown_name()
                            ),
                            path: format!("{}/@{}", element.path(), attribute.name()),
                            line: self.tree.text_pos_at(attribute.range().start).row,
                        });
                    }
                }
            } else if node.is_text()
                && !taken.contains(&(node.id(), None))
                && node.text().is_some_and(|text| !text.trim().is_empty())
            {
                let parent =
                    node.parent_element().map_or(element, |node| Element { document: self, node });
                return Err(parent.unsupported(format!("text in <{}>", parent.shown_name())));
            }
        }
        Ok(())
    }

    fn take(&self, node: NodeId, attribute: Option<usize>) {
        self.taken.borrow_mut().insert((node, attribute));
    }
}

/// An element being read. Every accessor takes what it returns.
#[derive(Clone, Copy, Debug)]
pub struct Element<'d, 'a> {
    document: &'d Document<'a>,
    node: Node<'d, 'a>,
}

impl<'d, 'a> Element<'d, 'a> {
    /// Local name.
    pub fn name(&self) -> &'d str {
        self.node.tag_name().name()
    }

    fn shown_name(&self) -> String {
        let tag = self.node.tag_name();
        match tag.namespace().and_then(|uri| self.node.lookup_prefix(uri)) {
            Some(prefix) if !prefix.is_empty() => format!("{prefix}:{}", tag.name()),
            _ => tag.name().to_owned(),
        }
    }

    /// Path from the root, such as `/domain/devices/disk[2]/source`.
    pub fn path(&self) -> String {
        let mut parts: Vec<String> = self
            .node
            .ancestors()
            .filter(|node| node.is_element())
            .map(|node| {
                let element = Element { document: self.document, node };
                let same = |other: &Node<'_, '_>| {
                    other.is_element() && other.tag_name() == node.tag_name()
                };
                let before = node.prev_siblings().skip(1).filter(same).count();
                let after = node.next_siblings().skip(1).any(|other| same(&other));
                if before > 0 || after {
                    format!("{}[{}]", element.shown_name(), before + 1)
                } else {
                    element.shown_name()
                }
            })
            .collect();
        parts.push(String::new());
        parts.reverse();
        parts.join("/")
    }

    /// Line of its start tag, from 1.
    pub fn line(&self) -> u32 {
        self.document.tree.text_pos_at(self.node.range().start).row
    }

    /// A fault of this element.
    pub fn error(&self, kind: Kind, message: impl Into<String>) -> DocumentError {
        DocumentError { kind, message: message.into(), path: self.path(), line: self.line() }
    }

    /// A fault of this element's content: [`Kind::Invalid`].
    pub fn invalid(&self, message: impl Into<String>) -> DocumentError {
        self.error(Kind::Invalid, message)
    }

    /// This element asks for what is not served: [`Kind::Unsupported`].
    pub fn unsupported(&self, message: impl Into<String>) -> DocumentError {
        self.error(Kind::Unsupported, message)
    }

    /// An attribute without namespace.
    pub fn attribute(&self, name: &str) -> Option<&'d str> {
        let (place, attribute) =
            self.node.attributes().enumerate().find(|(_, attribute)| {
                attribute.name() == name && attribute.namespace().is_none()
            })?;
        self.document.take(self.node.id(), Some(place));
        // The tree outlives the element, the attribute handle does not.
        self.node.attribute(attribute.name())
    }

    /// An attribute that must be there.
    pub fn required(&self, name: &str) -> Result<&'d str, DocumentError> {
        self.attribute(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> DocumentError {
        self.invalid(format!("<{}> needs the attribute '{name}'", self.shown_name()))
    }

    /// An attribute read as a value; its fault becomes one of this document.
    pub fn parsed<T>(&self, name: &str) -> Result<Option<T>, DocumentError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.attribute(name)
            .map(|text| {
                text.parse().map_err(|fault| {
                    self.invalid(format!("invalid value '{text}' of '{name}': {fault}"))
                })
            })
            .transpose()
    }

    /// An attribute read as a value, which must be there.
    pub fn required_parsed<T>(&self, name: &str) -> Result<T, DocumentError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.parsed(name)?.ok_or_else(|| self.missing(name))
    }

    /// A number as libvirt reads those of addresses: decimal, `0x` hexadecimal, or octal with a
    /// leading 0.
    pub fn number(&self, name: &str) -> Result<Option<u64>, DocumentError> {
        self.attribute(name)
            .map(|text| {
                let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
                    Some(digits) => (digits, 16),
                    None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
                    None => (text, 10),
                };
                // from_str_radix would take a sign.
                let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
                u64::from_str_radix(digits, radix).ok().filter(|_| plain).ok_or_else(|| {
                    self.invalid(format!("invalid value '{text}' of '{name}': not a number"))
                })
            })
            .transpose()
    }

    /// An attribute that is one of a few words.
    pub fn one_of<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, DocumentError> {
        self.attribute(name)
            .map(|text| {
                words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(
                    || {
                        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                        self.invalid(format!(
                            "invalid value '{text}' of '{name}', expecting one of: {}",
                            known.join(", ")
                        ))
                    },
                )
            })
            .transpose()
    }

    /// A `yes`/`no` attribute.
    pub fn yes_no(&self, name: &str) -> Result<Option<bool>, DocumentError> {
        self.one_of(name, &[("yes", true), ("no", false)])
    }

    /// An `on`/`off` attribute.
    pub fn on_off(&self, name: &str) -> Result<Option<bool>, DocumentError> {
        self.one_of(name, &[("on", true), ("off", false)])
    }

    /// The one child of that name (no namespace), or none; more than one is a fault.
    pub fn child(&self, name: &str) -> Result<Option<Self>, DocumentError> {
        let mut found = self.children(name);
        let first = found.next();
        match found.next() {
            Some(second) => Err(second.invalid(format!("more than one <{name}>"))),
            None => Ok(first),
        }
    }

    /// All children of that name (no namespace), in order.
    pub fn children(&self, name: &str) -> impl Iterator<Item = Element<'d, 'a>> + use<'d, 'a> {
        let name = name.to_owned();
        self.elements()
            .filter(move |child| {
                child.name() == name && child.node.tag_name().namespace().is_none()
            })
            .inspect(|child| child.document.take(child.node.id(), None))
    }

    /// All children of that name in a namespace, in order.
    pub fn children_in(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Iterator<Item = Element<'d, 'a>> + use<'d, 'a> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.elements()
            .filter(move |child| {
                child.name() == name && child.node.tag_name().namespace() == Some(&namespace)
            })
            .inspect(|child| child.document.take(child.node.id(), None))
    }

    /// All children in a namespace, in order.
    pub fn children_of(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = Element<'d, 'a>> + use<'d, 'a> {
        let namespace = namespace.to_owned();
        self.elements()
            .filter(move |child| child.node.tag_name().namespace() == Some(&namespace))
            .inspect(|child| child.document.take(child.node.id(), None))
    }

    /// All child elements, in order, *not* taken: for dispatch over many kinds. Take each one
    /// with [`Element::understood`] once it is known what it is.
    pub fn elements(&self) -> impl Iterator<Item = Element<'d, 'a>> + use<'d, 'a> {
        let document = self.document;
        self.node.children().filter(Node::is_element).map(move |node| Element { document, node })
    }

    /// Its place in the text that was read.
    pub fn range(&self) -> Range<usize> {
        self.node.range()
    }

    /// Whether there is nothing in it but white space.
    pub fn is_blank(&self) -> bool {
        let blank = |text: &str| text.trim().is_empty();
        self.node.children().all(|node| node.is_text() && node.text().is_some_and(blank))
    }

    /// Takes the element itself.
    pub fn understood(&self) {
        self.document.take(self.node.id(), None);
    }

    /// Its text, all of it; child elements within are a fault of [`Document::refuse_rest`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        for node in self.node.children().filter(Node::is_text) {
            self.document.take(node.id(), None);
            text.push_str(node.text().unwrap_or_default());
        }
        text
    }

    /// Text of the one child of that name.
    pub fn child_text(&self, name: &str) -> Result<Option<String>, DocumentError> {
        Ok(self.child(name)?.map(|child| child.text()))
    }

    /// The element with everything in it, as it was written, able to stand alone: prefixes that
    /// it uses and that are declared further out are declared on it.
    pub fn raw_standalone(&self) -> String {
        let raw = self.raw();
        let names_end =
            raw.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(raw.len());
        let own = declarations(&raw[names_end..]);
        let used: HashSet<&str> = self
            .node
            .descendants()
            .flat_map(|node| {
                let attributes = node.attributes().filter_map(|attribute| attribute.namespace());
                node.tag_name().namespace().into_iter().chain(attributes)
            })
            .collect();
        let mut declarations = String::new();
        for namespace in self.node.namespaces() {
            let Some(prefix) = namespace.name() else { continue };
            if prefix != "xml"
                && used.contains(namespace.uri())
                && own.iter().all(|it| it.0 != Some(prefix))
            {
                let uri = super::escape_attribute(namespace.uri());
                // Writing to a String does not fail.
                let _infallible = write!(declarations, " xmlns:{prefix}='{uri}'");
            }
        }
        format!("{}{declarations}{}", &raw[..names_end], &raw[names_end..])
    }

    /// The element with everything in it, as it was written. What it uses of namespace
    /// declarations further out is not carried along: see [`Element::raw_standalone`].
    pub fn raw(&self) -> &'a str {
        for node in self.node.descendants() {
            self.document.take(node.id(), None);
            for (place, _) in node.attributes().enumerate() {
                self.document.take(node.id(), Some(place));
            }
        }
        &self.document.tree.input_text()[self.node.range()]
    }

    /// Takes the element with everything in it, for what is known to be a hint without effect.
    pub fn ignore(&self) {
        self.raw();
    }
}

/// Refuses what would be read correctly, but at a cost out of proportion to its size. Anything
/// that is not well-formed is left to the reader to refuse.
fn bound_attributes(text: &str) -> Result<(), DocumentError> {
    let mut namespaces = 0;
    let mut rest = text;
    while let Some((_, markup)) = rest.split_once('<') {
        let skipped = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>"), ("!", ">")]
            .into_iter()
            .find(|(begin, _)| markup.starts_with(begin));
        if let Some((begin, end)) = skipped {
            let Some((_, after)) = markup[begin.len()..].split_once(end) else { return Ok(()) };
            rest = after;
            continue;
        }
        rest = markup;
        let mut attributes = 0;
        while let Some(at) = rest.find(['\'', '"', '>']) {
            let quote = &rest[at..=at];
            if quote == ">" {
                break;
            }
            attributes += 1;
            namespaces += usize::from(rest[..at].trim_start().starts_with("xmlns"));
            let many = match (attributes > MAX_ATTRIBUTES, namespaces > MAX_NAMESPACES) {
                (true, _) => format!("an element has more than {MAX_ATTRIBUTES} attributes"),
                (_, true) => format!("more than {MAX_NAMESPACES} namespace declarations"),
                _ => {
                    let Some((_, after)) = rest[at + 1..].split_once(quote) else { return Ok(()) };
                    rest = after;
                    continue;
                }
            };
            return Err(DocumentError {
                line: line_of(text, text.len() - rest.len() + at),
                ..DocumentError::whole(Kind::Malformed, many)
            });
        }
    }
    Ok(())
}

/// Line of a place in a text, from 1.
fn line_of(text: &str, at: usize) -> u32 {
    let before = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

/// Namespace declarations of a start tag: prefix, `None` for the default one, and their place
/// with the white space before them. `attributes` begins after the element's name.
pub(super) fn declarations(attributes: &str) -> Vec<(Option<&str>, Range<usize>)> {
    let mut found = Vec::new();
    let mut rest = attributes;
    // Well-formed already: name, `=`, quoted value, until the tag ends.
    while !rest.trim_start().starts_with(['>', '/']) {
        let start = attributes.len() - rest.len();
        let Some((name, after)) = rest.split_once('=') else { break };
        let after = after.trim_start();
        let Some(quote) = after.chars().next() else { break };
        let Some((_, next)) = after[quote.len_utf8()..].split_once(quote) else { break };
        let range = start..attributes.len() - next.len();
        match name.trim() {
            "xmlns" => found.push((None, range)),
            name => {
                found.extend(name.strip_prefix("xmlns:").map(|prefix| (Some(prefix), range)));
            }
        }
        rest = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_took_is_refused_with_path_and_line() {
        let text = "<a>\n <b x='1' y='2'>t</b>\n <b/>\n <c/>\n</a>";
        let document = Document::parse(text).unwrap();
        let root = document.root("a").unwrap();
        let b: Vec<_> = root.children("b").collect();
        assert_eq!(b[0].attribute("x"), Some("1"));
        let refusal = document.refuse_rest().unwrap_err();
        assert_eq!((refusal.path.as_str(), refusal.line), ("/a/b[1]/@y", 2));
        assert_eq!(b[0].attribute("y"), Some("2"));
        assert_eq!(document.refuse_rest().unwrap_err().message, "text in <b>");
        assert_eq!(b[0].text(), "t");
        let refusal = document.refuse_rest().unwrap_err();
        assert_eq!((refusal.path.as_str(), refusal.line), ("/a/c", 4));
        root.child("c").unwrap().unwrap().ignore();
        document.refuse_rest().unwrap();
    }

    #[test]
    fn what_is_kept_as_written_can_stand_alone() {
        let text = "<n xmlns:a='urn:a' xmlns:b='urn:b'>\n<m x='xmlns:a=' xmlns:c = \"urn:c\">\
                    <a:t/><c:t/></m></n>";
        let document = Document::parse(text).unwrap();
        let raw = document.root("n").unwrap().child("m").unwrap().unwrap().raw_standalone();
        assert_eq!(raw, "<m xmlns:a='urn:a' x='xmlns:a=' xmlns:c = \"urn:c\"><a:t/><c:t/></m>");
        let again = Document::parse(&raw).unwrap();
        assert_eq!(again.root("m").unwrap().raw_standalone(), raw);
    }

    #[test]
    fn a_number_is_read_in_the_base_that_its_prefix_says() {
        let document =
            Document::parse("<a x='0x1F' o='017' d='19' z='0' s='+1' e='0x' t='1a'/>").unwrap();
        let root = document.root("a").unwrap();
        for (name, value) in [("x", 31), ("o", 15), ("d", 19), ("z", 0)] {
            assert_eq!(root.number(name).unwrap(), Some(value));
        }
        assert_eq!(root.number("absent").unwrap(), None);
        for name in ["s", "e", "t"] {
            assert_eq!(root.number(name).unwrap_err().kind, Kind::Invalid);
        }
    }

    #[test]
    fn a_hostile_document_is_refused_before_it_costs_anything() {
        let bomb = "<!DOCTYPE a [<!ENTITY x 'y'><!ENTITY z '&x;&x;'>]><a>&z;</a>";
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        let very_deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let large = format!("<a>{}</a>", " ".repeat(MAX_BYTES));
        let attributes = |count: usize, name: &str| {
            (0..count).map(|n| format!(" {name}{n}='v'")).collect::<String>()
        };
        let wide = format!("<a><!-- ' -->{}<b{}/></a>", "<![CDATA[<]]>", attributes(300_000, "x"));
        let declaring = format!("<a{}/>", attributes(200, "xmlns:x")).repeat(2_000);
        let declaring = format!("<r>{declaring}</r>");
        for text in [
            bomb,
            &deep,
            &very_deep,
            &large,
            &wide,
            &declaring,
            "",
            "<a",
            "<a></b>",
            "<a/><b/>",
            "<a x='1' x='2'/>",
            "\0",
        ] {
            let refusal = Document::parse(text).unwrap_err();
            assert_eq!(refusal.kind, Kind::Malformed);
        }
    }

    #[test]
    fn an_element_may_have_as_many_attributes_as_are_allowed_and_no_more() {
        let with = |count: usize| {
            let attributes: String = (0..count).map(|n| format!("\nx{n}=\"'>\"")).collect();
            format!("<a><!-- {attributes}--><b{attributes}/></a>")
        };
        Document::parse(&with(MAX_ATTRIBUTES)).unwrap();
        let refusal = Document::parse(&with(MAX_ATTRIBUTES + 1)).unwrap_err();
        assert!(refusal.message.contains("more than 256 attributes"), "{refusal}");
        assert_eq!(refusal.line, 515);
    }
}
