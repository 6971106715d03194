//! How clients see the tools: each has a JSON file in `spec/`, which this turns into a [`Tool`].

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::mcp::{Annotations, Lane, Tool};

/// The file of one tool.
#[derive(Deserialize)]
struct Spec {
    #[serde(borrow)]
    title: &'static str,
    #[serde(borrow)]
    description: &'static str,
    #[serde(borrow)]
    lane: &'static str,
    /// A letter a hint: `r`ead-only, `c` the same unless conversations are kept, `d`estructive,
    /// `I`dempotent, `o`pen world.
    #[serde(borrow)]
    hints: &'static str,
    /// Arguments of `shared.json`.
    #[serde(borrow)]
    shared: Vec<&'static str>,
    input: Map<String, Value>,
    #[serde(default)]
    required: Vec<Value>,
    #[serde(default)]
    output: Map<String, Value>,
    #[serde(default)]
    output_required: Vec<Value>,
    /// Whether the result is a generation of `shared.json`, or a download.
    #[serde(default)]
    generation: bool,
    #[serde(default)]
    download: bool,
    example: Value,
}

/// What is the same for several tools.
pub(super) struct Common(Value);

impl Common {
    fn part(&self, path: &str) -> Option<&Value> {
        self.0.pointer(path)
    }
}

/// What of the house shows in the schemas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    /// There are several upstreams to choose from.
    pub(super) several: bool,
    /// Conversations are kept between calls.
    pub(super) conversations: bool,
}

/// Reads what several tools share. `None`: the file is broken, which a test sees.
pub(super) fn common() -> Option<Common> {
    serde_json::from_str(include_str!("spec/shared.json")).ok().map(Common)
}

/// A tool as `tools/list` shows it, and arguments that show what it is for. `None`: its file is
/// broken, which a test sees.
pub(super) fn tool(
    name: &'static str,
    file: &'static str,
    common: &Common,
    traits: Traits,
) -> Option<(Tool, Value)> {
    let spec: Spec = serde_json::from_str(file).ok()?;
    let mut properties = spec.input;
    for argument in spec.shared.into_iter().filter(|name| traits.several || *name != UPSTREAM) {
        let shared = common.part("/arguments")?.get(argument)?;
        properties.insert(argument.to_owned(), shared.clone());
    }
    if !traits.conversations {
        for argument in ["conversation_id", "store"].into_iter().filter(|_| name == "chat") {
            properties.remove(argument);
        }
    }
    let (mut results, mut sure) = (spec.output, spec.output_required);
    let kinds = [(spec.generation, "generation"), (spec.download, "download")];
    for (_, kind) in kinds.into_iter().filter(|(is_such, _)| *is_such) {
        results.extend(common.part(&format!("/{kind}"))?.as_object()?.clone());
        sure.extend_from_slice(common.part(&format!("/{kind}_required"))?.as_array()?);
    }
    let hint = |letter: char| spec.hints.contains(letter);
    let tool = Tool {
        name,
        title: spec.title,
        description: spec.description,
        input_schema: schema(properties, spec.required),
        output_schema: Some(schema(results, sure)),
        annotations: Annotations {
            read_only: hint('r') || hint('c') && !traits.conversations,
            destructive: hint('d'),
            idempotent: hint('I'),
            open_world: hint('o'),
        },
        lane: if spec.lane == "slow" { Lane::Slow } else { Lane::Quick },
    };
    Some((tool, spec.example))
}

/// Open: clients add keys of their own.
fn schema(properties: Map<String, Value>, required: Vec<Value>) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema.into()
}

const UPSTREAM: &str = "upstream";
