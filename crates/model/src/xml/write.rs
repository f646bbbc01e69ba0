//! Writing. See [`super`].

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

/// Escapes text for an element's content.
pub fn escape(text: &str) -> Cow<'_, str> {
    // A reader turns a bare carriage return into a newline.
    if !text.contains(['<', '>', '&', '\'', '"', '\r']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Escapes text for a quoted attribute, where a reader turns bare white space into blanks.
pub fn escape_attribute(text: &str) -> Cow<'_, str> {
    match escape(text) {
        text if !text.contains(['\n', '\t']) => text,
        text => Cow::Owned(text.replace('\n', "&#10;").replace('\t', "&#9;")),
    }
}

/// A document being written.
#[derive(Debug, Default)]
pub struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins an element; it ends with one of [`Tag`]'s closing calls.
    pub fn tag(&mut self, name: &str) -> Tag<'_> {
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        Tag { writer: self, name: name.to_owned() }
    }

    /// `<name>text</name>`.
    pub fn text(&mut self, name: &str, text: impl fmt::Display) {
        self.tag(name).text(text);
    }

    /// `<name>text</name>`, or nothing.
    pub fn text_opt(&mut self, name: &str, text: Option<impl fmt::Display>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// A piece of a document as it was read (see [`Element::raw`](super::Element::raw)).
    pub fn raw(&mut self, xml: &str) {
        self.indent();
        self.out.push_str(xml);
        self.out.push('\n');
    }

    /// The finished document, each element on a line of its own.
    pub fn finish(self) -> String {
        self.out
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }
}

/// A start tag being written.
#[derive(Debug)]
#[must_use = "a tag is closed by empty, text or body"]
pub struct Tag<'w> {
    writer: &'w mut Writer,
    name: String,
}

impl Tag<'_> {
    /// ` name='value'`.
    pub fn attr(self, name: &str, value: impl fmt::Display) -> Self {
        // Writing to a String does not fail.
        let _infallible =
            write!(self.writer.out, " {name}='{}'", escape_attribute(&value.to_string()));
        self
    }

    /// ` name='value'`, or nothing.
    pub fn attr_opt(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// ` name='yes'` or `'no'`.
    pub fn yes_no(self, name: &str, value: bool) -> Self {
        self.attr(name, if value { "yes" } else { "no" })
    }

    /// ` name='yes'` or `'no'`, or nothing.
    pub fn yes_no_opt(self, name: &str, value: Option<bool>) -> Self {
        match value {
            Some(value) => self.yes_no(name, value),
            None => self,
        }
    }

    /// `/>`.
    pub fn empty(self) {
        self.writer.out.push_str("/>\n");
    }

    /// `>text</name>`.
    pub fn text(self, text: impl fmt::Display) {
        let text = text.to_string();
        let _infallible = writeln!(self.writer.out, ">{}</{}>", escape(&text), self.name);
    }

    /// The children that `write` writes; `/>` when it writes none.
    pub fn body(self, write: impl FnOnce(&mut Writer)) {
        let before = self.writer.out.len();
        self.writer.out.push_str(">\n");
        let opened = self.writer.out.len();
        self.writer.depth += 1;
        write(self.writer);
        self.writer.depth -= 1;
        if self.writer.out.len() == opened {
            self.writer.out.truncate(before);
            self.empty();
        } else {
            self.close();
        }
    }

    /// The children that `write` writes, between a start and an end tag even when it writes none.
    pub fn open_body(self, write: impl FnOnce(&mut Writer)) {
        self.writer.out.push_str(">\n");
        self.writer.depth += 1;
        write(self.writer);
        self.writer.depth -= 1;
        self.close();
    }

    fn close(self) {
        self.writer.indent();
        let _infallible = writeln!(self.writer.out, "</{}>", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_prints_in_libvirts_style() {
        let mut w = Writer::new();
        w.tag("network").attr("connections", 2).body(|w| {
            w.text("name", "a<b");
            w.tag("forward").yes_no("managed", true).body(|w| {
                w.tag("pf").attr("dev", "it's").empty();
            });
            w.tag("vlan").body(|_| {});
            w.tag("portgroup").attr("name", "g").open_body(|_| {});
        });
        assert_eq!(
            w.finish(),
            "<network connections='2'>\n  <name>a&lt;b</name>\n  <forward managed='yes'>\n    \
             <pf dev='it&apos;s'/>\n  </forward>\n  <vlan/>\n  <portgroup name='g'>\n  \
             </portgroup>\n</network>\n"
        );
    }
}
