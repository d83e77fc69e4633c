//! A Rust source file, cut into code, comments and literal text, with its test parts marked.
//!
//! Not a parser: just enough of the lexical grammar that a rule about code is not fooled by a comment
//! or a string, and a rule about comments not by code. All three views have the file's own length and
//! line breaks, so an offset found in one names the same place in the others.

use std::ops::Range;

/// One `.rs` file of the tree.
pub(crate) struct Source {
    /// Path from the root of the tree, with `/` on every system.
    pub(crate) path: String,
    /// The file as it is.
    pub(crate) text: String,
    /// Only code: comments and the insides of literals are blank.
    pub(crate) code: String,
    /// Only comments: everything else is blank.
    pub(crate) comments: String,
    /// Where items under `#[cfg(test)]` stand.
    tests: Vec<Range<usize>>,
    /// Whether the whole file is test code.
    pub(crate) is_test: bool,
}

/// A function's name, the line it starts on, and how many lines it has.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) lines: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Source {
        let spans = spans(&text);
        let code = keep(&text, &spans, Kind::Code);
        let comments = keep(&text, &spans, Kind::Comment);
        let tests = test_items(&code);
        let is_test = is_test_path(&path);
        Source {
            path,
            text,
            code,
            comments,
            tests,
            is_test,
        }
    }

    /// Whether this place is code that only tests run.
    pub(crate) fn in_tests(&self, offset: usize) -> bool {
        self.is_test || self.tests.iter().any(|range| range.contains(&offset))
    }

    /// The line of a place, counted from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        count_lines(self.text.get(..offset).unwrap_or_default()) + 1
    }

    /// Lines that are not test items.
    pub(crate) fn lines_without_tests(&self) -> usize {
        let tests: usize = self
            .tests
            .iter()
            .map(|range| count_lines(self.text.get(range.clone()).unwrap_or_default()))
            .sum();
        count_lines(&self.text).saturating_sub(tests)
    }

    /// `path:line` of a place.
    pub(crate) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.line(offset))
    }

    /// Every function with a body, nested ones too.
    pub(crate) fn functions(&self) -> Vec<Function> {
        words(&self.code, "fn")
            .filter_map(|offset| {
                let end = item_end(&self.code, offset)?;
                let item = self.code.get(offset..end)?;
                let name = item.get(2..)?.trim_start();
                let name: String = name.chars().take_while(|c| is_word(*c)).collect();
                (!name.is_empty() && item.ends_with('}')).then(|| Function {
                    name,
                    offset,
                    lines: count_lines(item) + 1,
                })
            })
            .collect()
    }

    /// Files that a `#[cfg(test)] mod name;` in this file makes test code, without the `.rs`.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let Some(stem) = self.path.strip_suffix(".rs") else {
            return Vec::new();
        };
        let parent = stem.rsplit_once('/').map_or("", |(parent, _)| parent);
        let is_root = stem.ends_with("/lib") || stem.ends_with("/main");
        let directory = if is_root { parent } else { stem };
        let mut modules = Vec::new();
        for range in &self.tests {
            let item = self.code.get(range.clone()).unwrap_or_default();
            let Some(at) = words(item, "mod").next() else {
                continue;
            };
            let rest = item.get(at + 3..).unwrap_or_default().trim();
            if let Some(name) = rest.strip_suffix(';') {
                modules.push(format!("{directory}/{}", name.trim()));
            }
        }
        modules
    }
}

/// Offsets at which `word` stands as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).filter_map(move |(at, _)| {
        let before = code.get(..at)?.chars().next_back();
        let after = code.get(at + word.len()..)?.chars().next();
        let alone = !before.is_some_and(is_word) && !after.is_some_and(is_word);
        alone.then_some(at)
    })
}

pub(crate) fn count_lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Integration tests, benches, and the store's conformance suite, which other crates' tests run.
fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| {
        matches!(
            part,
            "tests" | "tests.rs" | "conformance" | "conformance.rs"
        )
    })
}

/// Where the item ends that starts at `from`: after its `;` or its closing brace.
fn item_end(code: &str, from: usize) -> Option<usize> {
    let mut nested = 0_usize;
    let mut braces = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && nested == 0 {
                    return Some(at + 1);
                }
            }
            b';' if braces == 0 && nested == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for (at, attribute) in code.match_indices("#[cfg(test)]") {
        let covered = items.last().is_some_and(|last| last.contains(&at));
        if covered {
            continue;
        }
        if let Some(end) = item_end(code, at + attribute.len()) {
            items.push(at..end);
        }
    }
    items
}

/// The text with every span of another kind blanked, line breaks kept.
fn keep(text: &str, spans: &[(Kind, Range<usize>)], kind: Kind) -> String {
    let mut out = String::with_capacity(text.len());
    for (span_kind, range) in spans {
        let part = text.get(range.clone()).unwrap_or_default();
        if *span_kind == kind {
            out.push_str(part);
        } else {
            out.extend(
                part.bytes()
                    .map(|byte| if byte == b'\n' { '\n' } else { ' ' }),
            );
        }
    }
    out
}

fn spans(text: &str) -> Vec<(Kind, Range<usize>)> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let after_word = text
            .get(..at)
            .and_then(|t| t.chars().next_back())
            .is_some_and(is_word);
        match special(rest, after_word) {
            Some((kind, length)) => {
                if start < at {
                    spans.push((Kind::Code, start..at));
                }
                let end = (at + length).min(text.len());
                spans.push((kind, at..end));
                at = end;
                start = end;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    if start < text.len() {
        spans.push((Kind::Code, start..text.len()));
    }
    spans
}

/// The comment or literal at the start of `rest`, and its length in bytes.
fn special(rest: &str, after_word: bool) -> Option<(Kind, usize)> {
    if rest.starts_with("//") {
        return Some((Kind::Comment, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, block_comment(rest)));
    }
    if rest.starts_with('"') {
        return Some((Kind::Literal, quoted(rest, '"')));
    }
    if rest.starts_with('\'') {
        return character(rest).map(|length| (Kind::Literal, length));
    }
    if after_word {
        return None;
    }
    raw_string(rest).map(|length| (Kind::Literal, length))
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.chars().skip(1);
    let first = chars.next()?;
    if first == '\\' {
        return Some(quoted(rest, '\''));
    }
    (chars.next() == Some('\'')).then(|| first.len_utf8() + 2)
}

fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|p| rest.starts_with(p))?;
    let tail = rest.get(prefix.len()..)?;
    let hashes = tail.bytes().take_while(|byte| *byte == b'#').count();
    let inside = tail.get(hashes..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let opened = prefix.len() + hashes + 1;
    let length = inside
        .find(&close)
        .map_or(inside.len(), |at| at + close.len());
    Some(opened + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/lib.rs".into(), text.into())
    }

    #[test]
    fn views_tell_code_from_comments_and_literals() {
        let text = r##"let a = "std::fs // no"; // std::net
/* one /* two */ three */ let b = r#"x " y"#; let c = '"'; let d: &'static str = "\"";"##;
        let s = source(text);
        assert_eq!(s.code.len(), text.len());
        assert_eq!(s.comments.len(), text.len());
        assert!(!s.code.contains("std::fs") && !s.code.contains("three"));
        assert!(s.code.contains("let b =") && s.code.contains("&'static str"));
        assert!(s.comments.contains("// std::net") && !s.comments.contains("let"));
    }

    #[test]
    fn non_ascii_text_keeps_offsets_on_lines() {
        let s = source("// ä\nlet x = \"ü\";\nfn f() {}\n");
        let f = s.code.find("fn f").unwrap();
        assert_eq!(s.code.get(f..f + 4), Some("fn f"));
    }

    #[test]
    fn test_items_are_found_whatever_they_are() {
        let s = source(
            "fn a() {}\n#[cfg(test)]\nfn b() { if x {} }\nfn c() {}\n#[cfg(test)]\nmod tests;\n",
        );
        assert!(!s.in_tests(s.code.find("fn a").unwrap()));
        assert!(s.in_tests(s.code.find("fn b").unwrap()));
        assert!(!s.in_tests(s.code.find("fn c").unwrap()));
        assert_eq!(s.test_modules(), ["crates/x/src/tests"]);
        assert_eq!(s.lines_without_tests(), 4);
    }

    #[test]
    fn functions_have_names_and_lengths() {
        let s = source("fn one(a: [u8; 3]) -> u8 {\n 1\n}\ntrait T { fn none(&self); }\n");
        let found: Vec<_> = s
            .functions()
            .into_iter()
            .map(|f| (f.name, f.lines))
            .collect();
        assert_eq!(found, [("one".to_owned(), 3)]);
    }
}
