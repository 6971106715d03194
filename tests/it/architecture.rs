//! The rooms of the house and who may use whom, read from the source and compared with this table.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test may fail here")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom; `server` builds the house and may use every room. A room that begins to use
/// another adds its arrow here, in the change that needs it.
const ARROWS: [(&str, &[&str]); 14] = [
    ("main", &["command", "config", "observe", "server"]),
    // Of OAuth only what may be a redirect URI, of the tools which there are, so that --check knows
    // their names.
    ("command", &["auth", "cert", "config", "oauth", "tools"]),
    // Only what is a home address and a local name, to refuse contradictory settings.
    ("config", &["auth", "near"]),
    ("transport", &["cancel", "chime", "edge", "mcp", "observe", "session", "worker"]),
    // A handler of the edge's, as `transport` is: routes in, replies out. A name is resolved on a
    // thread, so that a document has a limit.
    ("oauth", &["auth", "edge", "seal", "worker"]),
    ("edge", &["auth", "cancel", "chime", "observe", "worker"]),
    ("session", &["auth", "cancel", "files", "mcp", "seal"]),
    ("tools", &["cancel", "mcp", "near", "upstream"]),
    // A name is resolved on a thread, so that a connect has a limit.
    ("upstream", &["cancel", "worker"]),
    ("mcp", &["cancel", "seal"]),
    ("cert", &["files"]),
    ("auth", &["files"]),
    ("seal", &["files"]),
    ("server", &[EVERY_ROOM]),
];
const EVERY_ROOM: &str = "*";
/// Taking a lock and putting things in order is allowed everywhere.
const FREE: [&str; 2] = ["worker::lock", "order"];

/// Crates that only these files may name.
const NAMED_ONLY_IN: [(&str, &[&str]); 7] = [
    ("tiny_http", &["edge/http.rs"]),
    ("ureq", &["upstream/"]),
    (
        "rustls",
        &[
            "cert/",
            "edge/listen.rs",
            "edge/tls.rs",
            "edge/wire.rs",
            "oauth/fetch.rs",
            "server/error.rs",
            "upstream/",
        ],
    ),
    ("rcgen", &["cert/"]),
    ("if_addrs", &["auth/machine.rs"]),
    ("signal_hook", &["server/"]),
    ("toml_parser", &["config/toml.rs"]),
];

/// Words that stand in no file but these.
const WRITTEN_ONLY_IN: [(&str, &[&str]); 7] = [
    ("print!", &[]),
    ("println!", &[]),
    ("eprint!", &[]),
    ("eprintln!", &[]),
    ("dbg!", &[]),
    ("thread::spawn", &[]),
    ("thread::Builder", &["worker.rs"]),
];

/// Runtimes and libraries that stay out of the tree, and those that it has once.
const NEVER: [&str; 7] =
    ["tokio", "hyper", "async-std", "smol", "openssl", "openssl-sys", "native-tls"];
const ONCE: [&str; 4] = ["rustls", "ring", "serde_json", "log"];

const LINES_MAX: usize = 400;

/// One source file, without comments and tests.
struct File {
    /// Below `src`.
    name: String,
    code: String,
    lines: usize,
}

impl File {
    fn new(name: String, text: &str) -> Self {
        let tests = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
        let text = &text[..tests];
        let without_comment = |line: &str| {
            let code = line.trim_start();
            if code.starts_with("//") { String::new() } else { format!("{line}\n") }
        };
        let code = text.lines().map(without_comment).collect();
        Self { name, code, lines: text.lines().count() }
    }

    fn room(&self) -> &str {
        self.name.split('/').next().unwrap().trim_end_matches(".rs")
    }

    fn is_one_of(&self, allowed: &[&str]) -> bool {
        let folder = |allowed: &str| allowed.strip_suffix('/').map(|room| format!("{room}.rs"));
        allowed.iter().any(|allowed| {
            self.name == *allowed
                || folder(allowed)
                    .is_some_and(|top| self.name.starts_with(allowed) || self.name == top)
        })
    }

    /// Whether a word stands in the code, not as a part of a longer one.
    fn names(&self, word: &str) -> bool {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            !self.code[..at].ends_with(part)
                && (!word.ends_with(part) || !self.code[at + word.len()..].starts_with(part))
        })
    }

    /// Every path into another room, as `room::item`.
    fn uses(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        // The program sees the library from outside.
        let root = if self.name == "main.rs" { "local_llm_mcp::" } else { "crate::" };
        for (at, _) in self.code.match_indices(root) {
            tree(&self.code[at + root.len()..], "", &mut paths);
        }
        paths.retain(|path| !FREE.contains(&path.as_str()) && first(path) != self.room());
        paths
    }
}

/// Reads a path or a braced group of paths and returns what stands behind it.
fn tree<'a>(text: &'a str, before: &str, paths: &mut BTreeSet<String>) -> &'a str {
    let mut text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        text = group.trim_start();
        while !text.starts_with('}') {
            text = tree(text, before, paths).trim_start();
            text = text.strip_prefix(',').unwrap_or(text).trim_start();
        }
        return &text[1..];
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let path = if before.is_empty() {
        text[..end].to_owned()
    } else {
        format!("{before}::{}", &text[..end])
    };
    // `room::item` is enough to know.
    let behind = match text[end..].strip_prefix("::") {
        Some(more) if !path.contains("::") => return tree(more, &path, paths),
        Some(more) => skip(more),
        None => &text[end..],
    };
    paths.insert(path);
    match behind.trim_start().strip_prefix("as ") {
        Some(alias) => skip(alias),
        None => behind,
    }
}

fn skip(text: &str) -> &str {
    tree(text, "", &mut BTreeSet::new())
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap()
}

fn source() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push(File::new(name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 20);
    files
}

fn allowed(room: &str) -> &'static [&'static str] {
    ARROWS.iter().find(|(from, _)| *from == room).map_or(&[], |(_, to)| to)
}

/// Every use that the table does not allow, with its file.
fn broken_arrows(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| file.name != "lib.rs") {
        let allowed = allowed(file.room());
        for path in file.uses() {
            if !allowed.contains(&EVERY_ROOM) && !allowed.contains(&first(&path)) {
                broken.push(format!(
                    "src/{} uses {path}: there is no arrow {} → {}",
                    file.name,
                    file.room(),
                    first(&path)
                ));
            }
        }
    }
    broken
}

#[test]
fn every_room_uses_only_the_rooms_that_it_may() {
    let broken = broken_arrows(&source());
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_arrow_of_the_table_is_used() {
    let files = source();
    for (from, to) in ARROWS {
        for to in to.iter().filter(|to| **to != EVERY_ROOM) {
            let used = files
                .iter()
                .filter(|file| file.room() == from)
                .any(|file| file.uses().iter().any(|path| first(path) == *to));
            assert!(used, "nobody uses the arrow {from} → {to}");
        }
    }
}

#[test]
fn every_room_of_the_crate_is_known_and_only_main_uses_the_server() {
    let files = source();
    let rooms: BTreeSet<&str> = files.iter().map(File::room).collect();
    for (from, to) in ARROWS {
        for room in to.iter().chain([&from]).filter(|room| **room != EVERY_ROOM) {
            assert!(rooms.contains(room), "the table names {room}, which is no room");
        }
        assert!(from == "main" || !to.contains(&"server"), "{from}");
    }
}

#[test]
fn a_broken_arrow_is_named_with_its_file() {
    let text = "use crate::edge::{Edge, tls::{self as t}};\nuse crate::worker::{Crew, lock as l};\n\
                // use crate::server::run;\nuse crate::{auth::Principal, cancel};\n\
                fn f() { crate::session::open(&crate::mcp::VALUE) }\n\
                #[cfg(test)]\nmod tests { use crate::config::Config; }\n";
    let file = File::new("mcp/dispatch.rs".to_owned(), text);
    let expected =
        ["auth::Principal", "cancel", "edge::Edge", "edge::tls", "session::open", "worker::Crew"];
    assert_eq!(file.uses(), expected.map(str::to_owned).into());
    let broken = broken_arrows(&[file]);
    assert_eq!(broken.len(), 5);
    assert_eq!(broken[0], "src/mcp/dispatch.rs uses auth::Principal: there is no arrow mcp → auth");
}

#[test]
fn a_crate_is_named_only_where_it_is_at_home() {
    for file in source() {
        for (name, allowed) in NAMED_ONLY_IN {
            assert!(
                !file.names(name) || file.is_one_of(allowed),
                "src/{} names {name}, which belongs to {allowed:?}",
                file.name
            );
        }
    }
}

#[test]
fn nothing_is_printed_and_no_thread_started_past_the_one_way_to_do_it() {
    for file in source() {
        for (word, allowed) in WRITTEN_ONLY_IN {
            let written = file.names(word) && !file.is_one_of(allowed);
            assert!(!written, "src/{} has {word}", file.name);
        }
    }
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    for file in source() {
        assert!(file.lines <= LINES_MAX, "src/{} has {} lines", file.name, file.lines);
    }
}

#[test]
fn the_tree_has_no_async_runtime_and_one_copy_of_what_is_large() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = fs::read_to_string(lock).unwrap();
    let count = |name: &str| lock.matches(&format!("\nname = \"{name}\"\n")).count();
    for name in NEVER {
        assert_eq!(count(name), 0, "{name} is in the tree");
    }
    for name in ONCE {
        assert_eq!(count(name), 1, "{name} is not in the tree once");
    }
}
