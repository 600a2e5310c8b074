//! The house rules that a compiler does not know, as tests: module order, true paper, named dependencies, file length.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates, by folder. Their order is the order of dependence.
const CRATES: [&str; 5] = ["catalog", "raft", "node", "bench", "cluster-tests"];
/// The most lines of a source file, its tests included where they are inside. STYLE.md asks for less.
const FILE_LINES_MAX: usize = 700;
/// The most lines of a file that holds tests only: a list of sentences is read one at a time.
const TEST_LINES_MAX: usize = 1_000;
/// Reminders. Written in two halves, so that this file does not hold them.
const FORBIDDEN: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("dbg", "!("), concat!("todo", "!(")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the crate is in a workspace")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` with one of these endings, sorted.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry of a folder that is there").path();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| path.extension().is_some_and(|own| own == *ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    CRATES.iter().flat_map(|folder| files(&root().join(folder), &["rs"])).collect()
}

fn papers() -> Vec<PathBuf> {
    let mut papers = files(&root().join("docs"), &["md"]);
    papers.extend(["README.md", "ARCHITECTURE.md", "STYLE.md", "CHANGELOG.md"].map(|name| root().join(name)));
    papers
}

/// The modules that a `lib.rs` declares, in its order.
fn declared(lib: &str) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.trim().strip_prefix("pub ").unwrap_or(line.trim()).strip_prefix("mod ")?;
        rest.strip_suffix(';').map(str::to_owned)
    };
    lib.lines().filter_map(name).collect()
}

/// The top-level modules that a source names as `crate::…`, without what only its tests name.
fn named(source: &str) -> BTreeSet<String> {
    let body = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let code: String = body
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |all, line| all + line + "\n");
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => names.extend(word(rest)),
            Some(group) => names.extend(heads(group)),
        }
    }
    names
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first words of a `{a, b::{c, d}, e}` group, whose opening brace is gone.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_head) = (0_usize, Vec::new(), true);
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if at_head && (c.is_alphanumeric() || c == '_') => {
                heads.extend(word(&group[index..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn references_are_found_in_every_form_that_a_path_has() {
    let source = "use crate::{a, b::{c, d}, e as f};\n// crate::no\nfn x() { crate::g::h() }\n#[cfg(test)]\nmod tests {\nuse crate::t;";
    assert_eq!(named(source).into_iter().collect::<Vec<_>>(), ["a", "b", "e", "g"]);
    assert_eq!(declared("//! x\npub mod a;\nmod b;\npub mod c {}\n"), ["a", "b"]);
}

#[test]
fn a_module_uses_only_those_listed_above_it() {
    for folder in CRATES {
        let src = root().join(folder).join("src");
        let order = declared(&read(&src.join("lib.rs")));
        for (position, module) in order.iter().enumerate() {
            let mut paths = vec![src.join(format!("{module}.rs"))];
            let below = src.join(module);
            if below.is_dir() {
                paths.extend(files(&below, &["rs"]));
            }
            for path in paths.iter().filter(|path| path.file_stem().is_none_or(|stem| stem != "tests")) {
                for used in named(&read(path)) {
                    let at = order.iter().position(|other| *other == used);
                    assert!(
                        at.is_none_or(|at| at <= position),
                        "{} uses `{used}`, which {folder}/src/lib.rs lists below `{module}`",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn architecture_names_every_module_and_nothing_that_is_not_there() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let quoted: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    for folder in CRATES {
        for module in declared(&read(&root().join(folder).join("src/lib.rs"))) {
            let name = format!("{folder}::{module}");
            assert!(quoted.contains(name.as_str()), "ARCHITECTURE.md does not name `{name}`");
        }
    }
    for name in quoted {
        let is_module =
            CRATES.iter().any(|folder| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::")));
        if is_module {
            assert!(module_exists(name), "ARCHITECTURE.md names `{name}`, which is not there");
        } else if name.contains('/') && !name.contains([' ', '…']) {
            assert!(root().join(name).exists(), "ARCHITECTURE.md names `{name}`, which is not there");
        }
    }
}

/// A capital and a number, such as M1.
fn is_label(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| first.is_ascii_uppercase())
        && (2..=3).contains(&word.len())
        && letters.all(|digit| digit.is_ascii_digit())
}

#[test]
fn each_label_of_an_invariant_stands_in_the_architecture_and_in_the_code() {
    let architecture = read(&root().join("ARCHITECTURE.md"));
    let cells = architecture.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    let listed: BTreeSet<String> = cells.filter(|cell| is_label(cell)).map(str::to_owned).collect();
    let mut kept = BTreeSet::new();
    for path in
        ["catalog/src", "raft/src", "node/src"].iter().flat_map(|folder| files(&root().join(folder), &["rs"]))
    {
        let source = read(&path);
        let comments = source.lines().map(str::trim).filter(|line| line.starts_with("//"));
        let words = comments.flat_map(str::split_whitespace).filter_map(|word| word.strip_suffix(':'));
        kept.extend(words.filter(|word| is_label(word)).map(str::to_owned));
    }
    assert!(listed.contains("C1"), "the table of invariants is read");
    assert_eq!(listed, kept, "left: labels in ARCHITECTURE.md; right: labels in the code");
}

/// Whether `raft::log::store` is a module, or `raft::log::open` a word in the module before it.
fn module_exists(name: &str) -> bool {
    let mut parts = name.split("::");
    let src = root().join(parts.next().unwrap_or_default()).join("src");
    let (mut folder, mut file) = (src.clone(), src.join("lib.rs"));
    for part in parts {
        let next = folder.join(format!("{part}.rs"));
        if next.exists() {
            folder = folder.join(part);
            file = next;
        } else {
            return read(&file).split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == part);
        }
    }
    true
}

#[test]
fn each_link_of_a_paper_leads_somewhere() {
    for paper in papers() {
        for rest in read(&paper).split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            let folder = paper.parent().expect("a file is in a folder");
            assert!(
                target.is_empty() || target.contains("://") || folder.join(target).exists(),
                "{} links to {target}, which is not there",
                paper.display()
            );
        }
    }
}

#[test]
fn each_direct_dependency_has_its_line_and_each_line_its_dependency() {
    let lines: BTreeSet<String> = read(&root().join("docs/dependencies.md"))
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()))
        .collect();
    let mut used: BTreeMap<String, &str> = BTreeMap::new();
    for folder in CRATES {
        for name in dependencies(&read(&root().join(folder).join("Cargo.toml"))) {
            used.insert(name, folder);
        }
    }
    for (name, folder) in &used {
        assert!(
            lines.contains(name),
            "{folder} depends on `{name}`, which has no line in docs/dependencies.md"
        );
    }
    for name in &lines {
        assert!(
            used.contains_key(name),
            "docs/dependencies.md has a line for `{name}`, which nothing depends on"
        );
    }
    for name in dependencies(&read(&root().join("Cargo.toml"))) {
        assert!(used.contains_key(&name), "the root Cargo.toml pins `{name}`, which nothing depends on");
    }
}

/// The crates of others that a manifest names in any of its dependency tables.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            let named = table.split_once("dependencies.").map(|(_, name)| name.to_owned());
            inside = table.ends_with("dependencies");
            names.extend(named);
        } else if inside && !line.starts_with(['#', ' ']) {
            let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
            names.insert(line[..end].to_owned());
        }
    }
    names.retain(|name| !name.is_empty() && !name.starts_with("grantd-"));
    names
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    for path in sources().into_iter().chain(papers()) {
        let text = read(&path);
        for word in FORBIDDEN {
            assert!(
                !text.contains(word),
                "{} says {word}: say what is missing, and what happens meanwhile",
                path.display()
            );
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for path in sources() {
        let only_tests = path.iter().any(|part| part == "tests") || path.ends_with("tests.rs");
        let max = if only_tests { TEST_LINES_MAX } else { FILE_LINES_MAX };
        let lines = read(&path).lines().count();
        assert!(lines <= max, "{} has {lines} lines; at most {max}", path.display());
    }
}

#[test]
fn the_manual_names_every_setting_with_its_default() {
    let manual = read(&root().join("docs/operating.md"));
    for key in &grantd_node::config::KEYS {
        let row = manual.lines().find(|line| line.starts_with(&format!("| `{}` |", key.name)));
        let row = row.unwrap_or_else(|| panic!("docs/operating.md has no row for `{}`", key.name));
        let default = format!("| `{}` |", key.default);
        assert!(
            key.default.is_empty() || row.contains(&default),
            "`{}`: the default is {}",
            key.name,
            key.default
        );
    }
}
