//! Imports go down the ranks, never up or sideways.

use std::path::{Path, PathBuf};

/// Modules by rank, as in the README. The floor's two do not know each other's business, but `platform` is everybody's.
const RANKS: [(&str, u8); 25] = [
    ("domain", 0),
    ("platform", 0),
    ("activity", 1),
    ("attribution", 1),
    ("audit", 1),
    ("destinations", 1),
    ("keys", 1),
    ("sessions", 1),
    ("streams", 1),
    ("tokens", 1),
    ("users", 1),
    ("conversions", 2),
    ("forwarding", 2),
    ("reports", 2),
    ("settings", 2),
    ("retention", 3),
    ("trials", 3),
    ("api", 4),
    ("collect", 4),
    ("dashboard", 4),
    ("stubs", 4),
    ("webhook", 4),
    ("cli", 5),
    ("server", 5),
    ("lib", 6),
];

fn rank(module: &str) -> u8 {
    RANKS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, rank)| *rank)
        .expect("every module has a rank")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_go_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let module = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        if module == "main" || module == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for imported in text.split("crate::").skip(1) {
            let imported: String = imported
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if imported.is_empty() {
                continue;
            }
            seen += 1;
            let shell = rank(&module) == 5 && rank(&imported) == 5;
            if imported != module && rank(&imported) >= rank(&module) && !shell {
                wrong.push(format!("{} imports {imported}", inside.display()));
            }
        }
        // SQL lives in the stores, and in the one place that knows the machine.
        let may_have_sql = inside.ends_with("store.rs") || inside.ends_with("db.rs");
        if !may_have_sql && text.contains("sqlx::query") {
            wrong.push(format!("{} has SQL outside a store", inside.display()));
        }
        if rank(&module) < 4 && module != "platform" && text.contains("axum::Router") {
            wrong.push(format!("{} has routes below the doors", inside.display()));
        }
    }
    assert!(seen > 100, "the test reads imports: {seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
