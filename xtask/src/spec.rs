//! `cargo xtask spec`: the specification, its tests and its vectors belong together.
//!
//! A clause is `**[N.M]** text` in `spec/SPEC.md`; a citation is `[SPEC` and the number `]` in a comment. Citations in
//! tests are what proves a MUST; citations in code say where a check is made, and must exist as well.

use crate::Outcome;
use crate::check::report;
use crate::source::Source;
use crate::tree::{self, Finding, Tree};
use std::collections::{BTreeMap, BTreeSet};

const SPEC: &str = "spec/SPEC.md";
/// Where the code says which version it follows.
const WIRE: &str = "crates/wire/src/lib.rs";
const VECTORS: &str = "spec/vectors/";

/// `3.2` or `3.2.1`, in the order of the chapters.
type Number = Vec<u32>;

struct Clause {
    line: usize,
    must: bool,
}

struct Specification {
    clauses: BTreeMap<Number, Clause>,
    findings: Vec<Finding>,
}

/// Where a clause is cited.
struct Citation {
    number: Number,
    place: String,
    in_test: bool,
}

/// Checks the tree and prints counts; with `--list` also each clause without a test that has no MUST.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let list = match arguments {
        [] => false,
        [flag] if flag == "--list" => true,
        _ => return Err("the only argument is --list".into()),
    };
    let tree = Tree::read(&tree::root())?;
    let text = tree
        .text(SPEC)
        .ok_or_else(|| format!("{SPEC} cannot be read"))?;
    let specification = parse(&text);
    let citations = citations(&tree);
    let mut findings = specification.findings;
    findings.extend(compare(&specification.clauses, &citations));
    findings.extend(version(&tree, &text));
    let mut well = report("clauses", &findings);
    well &= report("vectors", &vectors(&tree));
    let tested: BTreeSet<&Number> = citations
        .iter()
        .filter(|c| c.in_test)
        .map(|c| &c.number)
        .collect();
    if list {
        for number in specification
            .clauses
            .keys()
            .filter(|number| !tested.contains(number))
        {
            println!("  untested, no MUST: {}", shown(number));
        }
    }
    println!(
        "{} clauses, {} with a MUST, {} cited by tests; {} citations in code, {} in tests; {} vector files",
        specification.clauses.len(),
        specification
            .clauses
            .values()
            .filter(|clause| clause.must)
            .count(),
        tested.len(),
        citations
            .iter()
            .filter(|citation| !citation.in_test)
            .count(),
        citations.iter().filter(|citation| citation.in_test).count(),
        vector_files(&tree).count(),
    );
    Ok(well)
}

fn parse(text: &str) -> Specification {
    let mut clauses: BTreeMap<Number, Clause> = BTreeMap::new();
    let mut findings = Vec::new();
    let mut chapter = 0;
    let mut open: Option<Number> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let place = || format!("{SPEC}:{line}");
        if content.starts_with('#') {
            open = None;
            if let Some(heading) = content.strip_prefix("## ") {
                chapter = leading_number(heading);
            }
        }
        if let Some(rest) = content.strip_prefix("**[") {
            let number = rest
                .split_once("]**")
                .and_then(|(number, _)| number_from(number));
            let Some(number) = number else {
                findings.push(Finding::fail(place(), "a clause begins `**[N.M]** `"));
                continue;
            };
            if number.first() != Some(&chapter) {
                findings.push(Finding::fail(
                    place(),
                    format!("{} stands in chapter {chapter}", shown(&number)),
                ));
            }
            // A clause that came later stands where it belongs, not where its number would.
            if clauses.contains_key(&number) {
                findings.push(Finding::fail(
                    place(),
                    format!("{} is there twice", shown(&number)),
                ));
            }
            clauses.insert(number.clone(), Clause { line, must: false });
            open = Some(number);
        } else if content.contains("**[") {
            findings.push(Finding::fail(place(), "a clause begins its own line"));
        }
        let clause = open.as_ref().and_then(|number| clauses.get_mut(number));
        let must = crate::source::words(content, "MUST").next().is_some();
        match clause {
            Some(clause) => clause.must |= must,
            None if must && chapter > 1 => {
                findings.push(Finding::fail(place(), "a MUST outside any clause"));
            }
            None => {}
        }
    }
    Specification { clauses, findings }
}

fn leading_number(heading: &str) -> u32 {
    let digits: String = heading.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn number_from(text: &str) -> Option<Number> {
    let number: Option<Number> = text
        .trim()
        .split('.')
        .map(|part| part.parse().ok())
        .collect();
    number.filter(|number| matches!(number.len(), 2 | 3))
}

fn shown(number: &Number) -> String {
    let parts: Vec<String> = number.iter().map(u32::to_string).collect();
    parts.join(".")
}

fn citations(tree: &Tree) -> Vec<Citation> {
    tree.sources.iter().flat_map(cited_by).collect()
}

/// The citations in one file's comments; two numbers with a comma between them are two.
fn cited_by(source: &Source) -> Vec<Citation> {
    let mut found = Vec::new();
    for (at, head) in source.comments.match_indices("[SPEC ") {
        let rest = source.comments.get(at + head.len()..).unwrap_or_default();
        let inside = rest.split(']').next().unwrap_or_default();
        for part in inside.split(',') {
            found.push(Citation {
                number: number_from(part).unwrap_or_default(),
                place: source.place(at),
                in_test: source.in_tests(at) || above_tests(source, at),
            });
        }
    }
    found
}

/// Whether the comment stands right above an item under `#[cfg(test)]`.
fn above_tests(source: &Source, at: usize) -> bool {
    let code = source.code.get(at..).unwrap_or_default();
    let blank = code.len() - code.trim_start().len();
    source.in_tests(at + blank)
}

fn compare(clauses: &BTreeMap<Number, Clause>, citations: &[Citation]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for citation in citations {
        if !clauses.contains_key(&citation.number) {
            let text = format!(
                "cites clause {}, which does not exist",
                shown(&citation.number)
            );
            findings.push(Finding::fail(&citation.place, text));
        }
    }
    for (number, clause) in clauses.iter().filter(|(_, clause)| clause.must) {
        if !citations
            .iter()
            .any(|citation| citation.in_test && citation.number == *number)
        {
            let place = format!("{SPEC}:{}", clause.line);
            findings.push(Finding::fail(
                place,
                format!("{} has a MUST and no test", shown(number)),
            ));
        }
    }
    findings
}

/// The text and `wire` name the same version.
fn version(tree: &Tree, text: &str) -> Option<Finding> {
    let code = tree.text(WIRE).unwrap_or_default();
    let in_code = between(&code, "SPEC_VERSION: &str = \"", "\"");
    let in_text = between(text, "\nVersion ", ". ");
    (in_code.is_none() || in_code != in_text).then(|| {
        let text = format!("version {in_text:?}, but SPEC_VERSION is {in_code:?}");
        Finding::fail(SPEC, text)
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?
        .1
        .split_once(after)
        .map(|(inside, _)| inside)
}

fn vector_files(tree: &Tree) -> impl Iterator<Item = &String> {
    tree.files.iter().filter(|file| file.starts_with(VECTORS))
}

/// Every file of vectors is read by a test: its name stands in one.
fn vectors(tree: &Tree) -> Vec<Finding> {
    let unread = vector_files(tree).filter(|file| {
        let name = file.strip_prefix(VECTORS).unwrap_or(file);
        !tree.sources.iter().any(|source| {
            let mut places = source.text.match_indices(name);
            places.any(|(at, _)| source.in_tests(at))
        })
    });
    unread
        .map(|file| Finding::fail(file, "no test reads it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::Temporary;

    const GOOD: &str = "# S\n## 1 Terms\nMUST means must.\n## 2 Logs\n\n**[2.1]** A reader MUST\nrefuse.\n\n**[2.1.1]** A note.\n\n**[2.2]** A\nlog MUST end.\n";

    fn findings(spec: &str, files: &[(&str, &str)]) -> Vec<String> {
        let temporary = Temporary::new(files);
        let tree = temporary.tree();
        let specification = parse(spec);
        let mut found = specification.findings;
        found.extend(compare(&specification.clauses, &citations(&tree)));
        found.extend(vectors(&tree));
        found
            .into_iter()
            .map(|f| format!("{}: {}", f.place, f.text))
            .collect()
    }

    #[test]
    fn tested_clauses_and_read_vectors_pass() {
        let files = [
            (
                "crates/x/tests/it/main.rs",
                "// [SPEC 2.1]\nfn a() { read(\"log.json\"); }\n",
            ),
            (
                "crates/x/src/lib.rs",
                "// [SPEC 2.1.1]\nfn f() {}\n// [SPEC 2.2]\n#[cfg(test)]\nmod tests {}\n",
            ),
            ("spec/vectors/log.json", "{}"),
        ];
        assert_eq!(findings(GOOD, &files), [""; 0]);
    }

    // [SPEC 1.1]
    #[test]
    fn a_must_without_a_test_is_found() {
        let files = [
            ("crates/x/tests/it/main.rs", "// [SPEC 2.1]\n"),
            (
                "crates/x/src/lib.rs",
                "// [SPEC 2.2]\nfn f() {}\nconst A: &str = \"[SPEC 2.9]\";\n",
            ),
        ];
        assert_eq!(
            findings(GOOD, &files),
            ["spec/SPEC.md:11: 2.2 has a MUST and no test"]
        );
    }

    #[test]
    fn citations_of_nothing_and_unread_vectors_are_found() {
        let files = [
            (
                "crates/x/tests/it/main.rs",
                "// [SPEC 2.1, 2.2] [SPEC 9.9]\n// [SPEC x]\n",
            ),
            ("crates/x/src/lib.rs", "const A: &str = \"log.json\";\n"),
            ("spec/vectors/log.json", "{}"),
        ];
        assert_eq!(findings(GOOD, &files).len(), 3);
    }

    #[test]
    fn text_and_code_name_one_version() {
        let files = [(
            "crates/wire/src/lib.rs",
            "pub const SPEC_VERSION: &str = \"0.1\";\n",
        )];
        let temporary = Temporary::new(&files);
        assert!(version(&temporary.tree(), "# S\n\nVersion 0.1. More.\n").is_none());
        assert!(version(&temporary.tree(), "# S\n\nVersion 0.2. More.\n").is_some());
        assert!(version(&temporary.tree(), "# S\n").is_some());
    }

    #[test]
    fn clauses_out_of_place_are_found() {
        let musts = "## 2 Logs\n**[2.1]** a\n";
        for broken in [
            "**[2.1]** again\n",
            "**[3.1]** elsewhere\n",
            "**[two]** no number\n",
            "in a line **[2.3]** x\n",
            "## 3 More\nA MUST in the open.\n",
        ] {
            assert_eq!(
                findings(&format!("{musts}{broken}"), &[("a.md", "")]).len(),
                1,
                "{broken}"
            );
        }
    }
}
