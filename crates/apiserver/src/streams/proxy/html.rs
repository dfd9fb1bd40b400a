//! Rewriting the links of a page while it passes by.

use super::links::Links;

/// Attributes that are links, by element.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];
/// A tag longer than this passes unread, in bytes.
const LONGEST: usize = 64 * 1024;

/// Rewrites a page that comes in pieces.
#[derive(Debug)]
pub(super) struct Rewriter {
    links: Links,
    /// The start of a tag that has not come whole.
    pending: Vec<u8>,
    /// The element whose text is no markup, while inside it.
    raw: Option<&'static str>,
}

impl Rewriter {
    /// For a page of a target.
    pub(super) fn new(links: Links) -> Self {
        Self {
            links,
            pending: Vec::new(),
            raw: None,
        }
    }

    /// Takes the next piece and gives what can be passed on.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(piece);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let mut out = Vec::with_capacity(rest.len());
        while let Some(start) = rest.iter().position(|byte| *byte == b'<') {
            let (text, tag) = rest.split_at(start);
            out.extend_from_slice(text);
            rest = tag;
            let Some(end) = end_of_tag(tag) else {
                if tag.len() > LONGEST {
                    break;
                }
                self.pending = tag.to_vec();
                return out;
            };
            let (tag, after) = tag.split_at(end);
            self.tag(tag, &mut out);
            rest = after;
        }
        out.extend_from_slice(rest);
        out
    }

    /// What is left once the page has ended.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn tag(&mut self, tag: &[u8], out: &mut Vec<u8>) {
        let closing = tag.get(1) == Some(&b'/');
        let name = tag.get(if closing { 2 } else { 1 }..).unwrap_or_default();
        let length = name
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        let name = name.get(..length).unwrap_or_default().to_ascii_lowercase();
        if let Some(raw) = self.raw {
            if closing && name == raw.as_bytes() {
                self.raw = None;
            }
            return out.extend_from_slice(tag);
        }
        let raw = ["script", "style"]
            .into_iter()
            .find(|raw| name == raw.as_bytes());
        if !closing {
            self.raw = raw.filter(|_| !tag.ends_with(b"/>"));
        }
        let known = ATTRIBUTES
            .iter()
            .find(|(element, _)| name == element.as_bytes());
        match known {
            Some((_, attributes)) if !closing => self.attributes(tag, 1 + length, attributes, out),
            _ => out.extend_from_slice(tag),
        }
    }

    /// Copies a tag from `at` on, with its links rewritten.
    fn attributes(&self, tag: &[u8], at: usize, links: &[&str], out: &mut Vec<u8>) {
        let (head, mut rest) = tag.split_at(at.min(tag.len()));
        out.extend_from_slice(head);
        while let Some(attribute) = next_attribute(rest) {
            let Attribute { name, value } = attribute;
            let text = rest.get(value.clone()).unwrap_or_default();
            let name = rest.get(name).unwrap_or_default().to_ascii_lowercase();
            let is_link = links.iter().any(|link| name == link.as_bytes());
            let link = std::str::from_utf8(text).ok().filter(|_| is_link);
            let new = link.and_then(|link| self.links.rewrite(link.trim()));
            out.extend_from_slice(rest.get(..value.start).unwrap_or_default());
            out.extend_from_slice(new.as_deref().map_or(text, str::as_bytes));
            rest = rest.get(value.end..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }
}

/// Where a tag's `>` ends it; `None` while it is incomplete. A lone `<` is a tag of its own.
fn end_of_tag(tag: &[u8]) -> Option<usize> {
    if tag.starts_with(b"<!--") {
        let end = tag.windows(3).skip(4).position(|three| three == b"-->");
        return end.map(|at| at + 7);
    }
    let second = *tag.get(1)?;
    if !second.is_ascii_alphabetic() && !matches!(second, b'/' | b'!' | b'?') {
        return Some(1);
    }
    if second == b'!' && tag.len() < 4 && b"<!--".starts_with(tag) {
        return None;
    }
    let mut quote = None;
    for (at, byte) in tag.iter().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'>') => return Some(at + 1),
            (Some(open), byte) if open == *byte => quote = None,
            (_, _) => {}
        }
    }
    None
}

/// Where the next attribute's name and value are.
struct Attribute {
    name: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

fn next_attribute(text: &[u8]) -> Option<Attribute> {
    let skip = |from: usize, what: fn(&u8) -> bool| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| what(byte)).count()
    };
    let mut at = 0;
    loop {
        let start = skip(at, |b| b.is_ascii_whitespace() || *b == b'/');
        let end = skip(start, |b| {
            !b.is_ascii_whitespace() && !matches!(b, b'=' | b'>' | b'/')
        });
        let equals = skip(end, u8::is_ascii_whitespace);
        if text.get(equals) != Some(&b'=') {
            // A name without a value; or the end.
            if end == start {
                return None;
            }
            at = end;
            continue;
        }
        let value = skip(equals + 1, u8::is_ascii_whitespace);
        let (value, stop) = match text.get(value) {
            Some(b'"') => (value + 1, skip(value + 1, |b| *b != b'"')),
            Some(b'\'') => (value + 1, skip(value + 1, |b| *b != b'\'')),
            _ => (
                value,
                skip(value, |b| !b.is_ascii_whitespace() && *b != b'>'),
            ),
        };
        // The quote that ends the value is passed over with the next attribute's name.
        return Some(Attribute {
            name: start..end,
            value: value..stop,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn rewriter() -> Rewriter {
        Rewriter::new(Links {
            prefix: "/p".into(),
            host: "h:80".into(),
        })
    }

    fn whole(page: &str) -> String {
        let mut rewriter = rewriter();
        let mut out = rewriter.push(page.as_bytes());
        out.extend(rewriter.finish());
        String::from_utf8(out).unwrap()
    }

    #[rstest]
    #[case::double("<a href=\"/x\">y</a>", "<a href=\"/p/x\">y</a>")]
    #[case::single("<A HREF='/x' id=b>", "<A HREF='/p/x' id=b>")]
    #[case::bare("<img alt src=/x>", "<img alt src=/p/x>")]
    #[case::several(
        "<img src = \"/x\" usemap='/y'/>",
        "<img src = \"/p/x\" usemap='/p/y'/>"
    )]
    #[case::no_link("<p title=\"/x\">/x</p>", "<p title=\"/x\">/x</p>")]
    #[case::relative("<a href=\"x\">", "<a href=\"x\">")]
    #[case::own_host("<a href=\"http://h:80/x\">", "<a href=\"/p/x\">")]
    #[case::comment(
        "<!-- <a href=\"/x\"> --><a href=/x>",
        "<!-- <a href=\"/x\"> --><a href=/p/x>"
    )]
    #[case::program(
        "<script src=\"/x\">a < b; '<a href=\"/y\">'</script><a href=\"/z\">",
        "<script src=\"/p/x\">a < b; '<a href=\"/y\">'</script><a href=\"/p/z\">"
    )]
    #[case::lone("1 < 2 <a href=/x>", "1 < 2 <a href=/p/x>")]
    #[case::doctype("<!DOCTYPE html><a href=/x>", "<!DOCTYPE html><a href=/p/x>")]
    #[case::greater_in_a_value("<a title=\">\" href=\"/x\">", "<a title=\">\" href=\"/p/x\">")]
    #[case::unfinished("<a href=\"/x", "<a href=\"/x")]
    fn links_lead_back_through_the_proxy(#[case] page: &str, #[case] want: &str) {
        assert_eq!(whole(page), want);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cut in 0_usize..80) {
            let page = "<!-- x --><a href='/x'>1 < 2</a><script>'<a href=/n>'</script><img src=/y>";
            let cut = cut.min(page.len());
            let mut rewriter = rewriter();
            let mut out = rewriter.push(&page.as_bytes()[..cut]);
            out.extend(rewriter.push(&page.as_bytes()[cut..]));
            out.extend(rewriter.finish());
            prop_assert_eq!(String::from_utf8(out).unwrap(), whole(page));
        }

        #[test]
        fn text_without_links_is_untouched(page in "[a-z<>=\"' !/-]{0,200}") {
            prop_assert_eq!(whole(&page), page);
        }
    }
}
