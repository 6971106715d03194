//! The tool `private_analysis`.

use serde_json::{Map, Value, json};

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::analysis::Analyses;
use crate::tools::arguments::Arguments;
use crate::tools::generate::{Engine, beside, shared};
use crate::tools::outcome::{Failure, data, error_data, insert, object};
use crate::tools::scan::{self, Found};
use crate::tools::toolbox::Toolbox;

/// Lets a model analyze a text; of a privacy scan a part needs no model.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let content = arguments.needed("content")?;
    let analysis = arguments
        .word("analysis_type", &TYPES.map(|name| (name, name)))?
        .ok_or_else(|| arguments.missing("analysis_type"))?;
    let analyses = Analyses::read();
    let domains: Vec<_> = analyses.domains().into_iter().map(|name| (name, name)).collect();
    let domain = arguments.word("domain", &domains)?.unwrap_or("general");
    let request = shared(&arguments, toolbox, context)?;
    let mut engine = Engine::new(toolbox, context, "private_analysis");
    let task = analyses.task(analysis, domain);
    let asked = task.ask(&mut engine, request, format!("Text:\n{content}"));
    if analysis == "privacy_scan" {
        let (answer, said) = match asked {
            Ok((answer, said)) => (beside(&answer), Ok(said)),
            Err(failure) if context.cancel.is_fired() => return Err(failure),
            Err(failure) => (Value::Null, Err(failure)),
        };
        return Ok(data(&privacy(&scan::find(content), said, &answer)));
    }
    let (answer, mut result) = asked?;
    match analysis {
        "summary" => sizes(&mut result, content),
        "key_points" => ratings(&mut result),
        _ => {}
    }
    result.insert("_generation".to_owned(), beside(&answer));
    Ok(data(&result))
}

/// What was found without a model, then what the model said, if it said anything.
fn privacy(
    found: &[Found<'_>],
    said: Result<Map<String, Value>, Failure>,
    generation: &Value,
) -> Value {
    let mut issues: Vec<_> = found
        .iter()
        .map(|one| {
            object!({
                "type": one.kind.name(),
                "severity": one.kind.severity(),
                "description": format!("{} in the text", one.kind.phrase()),
                "location": format!("characters {} to {}", one.at.start, one.at.end),
                "source": "pattern",
            })
        })
        .collect();
    let mut recommendations = Vec::new();
    if !found.is_empty() {
        recommendations.push(json!("Remove or mask what was found before the text is shared."));
    }
    let mut failed = None;
    match said {
        Ok(mut said) => {
            let mut take = |name: &str| match said.remove(name) {
                Some(Value::Array(entries)) => entries,
                _ => Vec::new(),
            };
            issues.extend(take("issues"));
            recommendations.extend(take("recommendations"));
        }
        Err(failure) => failed = error_data(&failure).get("error").cloned(),
    }
    let worst = ["high", "medium", "low"];
    let risk = worst.into_iter().find(|risk| issues.iter().any(|it| it["severity"] == *risk));
    let mut result = object!({
        "issues": issues,
        "overallRisk": risk.unwrap_or("low"),
        "recommendations": recommendations,
        "_generation": generation.clone(),
    });
    insert(&mut result, "modelError", failed);
    result
}

/// How much shorter it became, in words.
fn sizes(result: &mut Map<String, Value>, content: &str) {
    let words = |text: &str| u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX);
    let count = words(result.get("summary").and_then(Value::as_str).unwrap_or_default());
    let ratio = f64::from(count) / f64::from(words(content).max(1));
    result.insert("wordCount".to_owned(), count.into());
    result.insert("compressionRatio".to_owned(), ((ratio * 100.0).round() / 100.0).into());
}

/// Importance by key point, as programs know it; a model gives it in the order of the points.
fn ratings(result: &mut Map<String, Value>) {
    let ratings = result.remove("ratings").unwrap_or_default();
    let points = result.get("keyPoints").and_then(Value::as_array).into_iter().flatten();
    let points = points.filter_map(Value::as_str).map(str::to_owned);
    let pairs = points.zip(ratings.as_array().into_iter().flatten().cloned());
    let importance: Map<_, _> = pairs.collect();
    result.insert("importance".to_owned(), importance.into());
}

/// The kinds of analysis.
pub(super) const TYPES: [&str; 7] = [
    "sentiment",
    "entities",
    "classification",
    "summary",
    "key_points",
    "privacy_scan",
    "security_audit",
];
