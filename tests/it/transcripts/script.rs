//! Reads a transcript. The format is in `tests/data/transcripts/README.md`.
#![expect(clippy::panic, reason = "a test may fail here")]

/// A line with what is indented below it.
#[derive(Debug)]
pub(super) struct Step {
    /// In the file, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// Header lines as they are.
    pub(super) fields: Vec<String>,
    /// From the first line on that begins JSON, or behind bars.
    pub(super) body: Body,
}

/// What stands below the fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Json(String),
    /// The lines behind `|`.
    Text(Vec<String>),
}

/// The steps of a file.
pub(super) fn read(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match (line.strip_prefix("  "), steps.last_mut()) {
            (None, _) => steps.push(Step {
                line: number,
                text: line.to_owned(),
                fields: Vec::new(),
                body: Body::None,
            }),
            (Some(more), Some(step)) => below(step, more),
            (Some(_), None) => panic!("line {number} is below no step"),
        }
    }
    assert!(!steps.is_empty(), "it has no steps");
    steps
}

fn below(step: &mut Step, line: &str) {
    match (&mut step.body, line.strip_prefix('|')) {
        (Body::Text(lines), Some(text)) => lines.push(text.to_owned()),
        (Body::None, Some(text)) => step.body = Body::Text(vec![text.to_owned()]),
        (Body::Json(json), _) => {
            json.push('\n');
            json.push_str(line);
        }
        (Body::None, None) if line.starts_with(['{', '[']) => {
            step.body = Body::Json(line.to_owned());
        }
        (Body::None, None) => step.fields.push(line.to_owned()),
        (Body::Text(_), None) => panic!("line {}: text and no bar: {line}", step.line),
    }
}
