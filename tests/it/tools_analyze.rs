//! The tools that analyze and rewrite: what they make of good, broken and missing answers.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects and does not find fails it"
)]

use serde_json::{Value, json};

use crate::support::client::Session;
use crate::support::house::{House, Plan};
use crate::support::stand_in::{Delta, Fault, Script};

fn says(text: &str) -> Script {
    Script { deltas: vec![Delta::Content(text.to_owned())], ..Script::default() }
}

fn start(script: Script) -> (House, Session) {
    let house = Plan::new().script(script).start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    // The log would come between a call and its result.
    session.ask("logging/setLevel", &json!({ "level": "error" }));
    (house, session)
}

/// What an analysis comes to when the model says this; the text is the same data.
fn analysis(kind: &str, said: &str) -> Value {
    let (_house, mut session) = start(says(said));
    let arguments = json!({ "content": "One two three four.", "analysis_type": kind });
    let result = session.call("private_analysis", &arguments);
    let data = result["structuredContent"].clone();
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, data, "{result}");
    assert_eq!(data["_generation"]["finish_reason"], "stop");
    assert_eq!(data["_generation"].get("text"), None);
    data
}

fn without_generation(mut data: Value) -> Value {
    data.as_object_mut().unwrap().remove("_generation");
    data
}

#[test]
fn each_analysis_has_the_keys_of_the_node_server() {
    let sentiment =
        "```json\n{\"sentiment\": \"Positive\", \"confidence\": 0.9, \"emotions\": [\"joy\"]}\n```";
    assert_eq!(
        without_generation(analysis("sentiment", sentiment)),
        json!({ "sentiment": "positive", "confidence": 0.9, "emotions": ["joy"], "reasoning": "" })
    );
    let entities = analysis("entities", "{\"people\": [\"Ann\"]}");
    assert_eq!((&entities["people"], &entities["dates"]), (&json!(["Ann"]), &json!([])));
    let kinds = json!({ "topics": [], "concepts": [], "terms": [], "references": [] });
    assert_eq!(entities["domainSpecific"], kinds);
    let class = analysis(
        "classification",
        "{\"categories\": [\"news\", \"made up\"], \"complexity\": \"high\"}",
    );
    assert_eq!((&class["categories"], &class["complexity"]), (&json!(["news"]), &json!("high")));
    let summary = analysis("summary", "{\"summary\": \"Numbers.\", \"keyPoints\": [\"a\"]}");
    assert_eq!((&summary["wordCount"], &summary["compressionRatio"]), (&json!(1), &json!(0.25)));
    let points = analysis("key_points", "{\"keyPoints\": [\"a\", \"b\"], \"ratings\": [9, 3]}");
    assert_eq!(points["importance"], json!({ "a": 9, "b": 3 }));
    assert_eq!((points.get("ratings"), &points["actionItems"]), (None, &json!([])));
    let audit = analysis(
        "security_audit",
        "{\"vulnerabilities\": [{\"type\": \"x\"}], \"securityScore\": 40}",
    );
    assert_eq!(audit["vulnerabilities"][0]["severity"], "medium");
    assert_eq!(audit["securityScore"], 40);
}

#[test]
fn an_analysis_that_is_no_json_is_told_with_what_the_model_said() {
    let (house, mut session) = start(says("I cannot."));
    let arguments = json!({ "content": "a", "analysis_type": "sentiment" });
    let result = session.call("private_analysis", &arguments);
    assert_eq!(result["isError"], true);
    let text = result["content"][1]["text"].as_str().unwrap();
    assert!(text.contains("SCHEMA_VIOLATION") && text.contains("I cannot."), "{text}");
    assert_eq!(house.stand_in().counts().chats, 2);
    let sent: Value = serde_json::from_str(&house.stand_in().last_chat()).unwrap();
    let schema = &sent["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["required"], json!(["confidence", "emotions", "reasoning", "sentiment"]));
    for (arguments, said) in [
        (json!({ "content": "a", "analysis_type": "mood" }), "$.analysis_type must be one of"),
        (json!({ "content": "a" }), "$.analysis_type is missing"),
        (json!({ "content": " ", "analysis_type": "summary" }), "$.content is missing"),
        (json!({ "content": "a", "analysis_type": "summary", "domain": "x" }), "$.domain must be"),
    ] {
        let refused = session.call("private_analysis", &arguments);
        let text = refused["content"][1]["text"].as_str().unwrap();
        assert!(text.contains(said), "{text}");
    }
}

const PRIVATE: &str = "Ann (ann@example.org) paid with 4111 1111 1111 1111 from 10.0.0.7 in 2024; \
                       not a card: 4111 1111 1111 1112, not an address: 300.1.2.3.";

#[test]
fn a_privacy_scan_tells_what_it_finds_by_itself_also_when_the_model_fails() {
    let arguments = json!({ "content": PRIVATE, "analysis_type": "privacy_scan" });
    let found = |result: &Value| -> Vec<String> {
        let issues = result["structuredContent"]["issues"].as_array().unwrap();
        issues.iter().map(|issue| issue["type"].as_str().unwrap().to_owned()).collect()
    };
    let said = "{\"issues\": [{\"type\": \"name\", \"severity\": \"low\", \"description\": \"d\"}], \"recommendations\": [\"r\"]}";
    let (house, mut session) = start(says(said));
    let whole = session.call("private_analysis", &arguments);
    assert_eq!(found(&whole), ["email", "credit_card", "ip_address", "name"], "{whole}");
    assert_eq!(whole["structuredContent"]["overallRisk"], "high");
    let fault = Fault::Body(500, "{\"error\":\"out of order\"}".to_owned());
    house.stand_in().play(Script { chat_fault: fault, ..Script::default() });
    let alone = session.call("private_analysis", &arguments);
    assert!(alone.get("isError").is_none(), "{alone}");
    assert_eq!(found(&alone), ["email", "credit_card", "ip_address"]);
    let data = &alone["structuredContent"];
    assert_eq!((&data["_generation"], &data["overallRisk"]), (&Value::Null, &json!("high")));
    assert_eq!(data["modelError"]["code"], "UPSTREAM_ERROR", "{data}");
    assert_eq!(data["issues"][0]["location"], "characters 5 to 20");
    drop(house);
}

#[test]
fn no_private_value_reaches_the_model_or_the_result() {
    let said =
        "Dear Ann, we have ANN@example.org, [CREDIT_CARD_1] and 4111-1111-1111-1111; [NAME_1].";
    let (house, mut session) = start(says(said));
    for (level, expected) in [
        (
            "strict",
            "Dear [NAME_1], we have [EMAIL_1], [CREDIT_CARD_1] and [CREDIT_CARD_1]; [NAME_1].",
        ),
        (
            "moderate",
            "Dear a person, we have an email address, a card number and a card number; a person.",
        ),
        (
            "minimal",
            "Dear Ann, we have an email address, a card number and a card number; [NAME_1].",
        ),
    ] {
        let result = session.call(
            "secure_rewrite",
            &json!({
                "content": PRIVATE, "style": "formal, to ann@example.org", "privacy_level": level,
                "names": ["Ann"],
            }),
        );
        assert_eq!(result["content"][0]["text"], expected, "{level}");
        let data = &result["structuredContent"];
        assert_eq!((&data["text"], &data["privacy_level"]), (&json!(expected), &json!(level)));
        let sent = house.stand_in().last_chat();
        assert!(!sent.contains("ann@") && !sent.contains("4111 1111 1111 1111"), "{sent}");
        assert!(sent.contains("4111 1111 1111 1112") && sent.contains("2024"), "{sent}");
        let count = |kind: &str| {
            let replaced = data["replaced"].as_array().unwrap().iter();
            replaced.filter(|it| it["type"] == kind).map(|it| it["count"].clone()).next()
        };
        assert_eq!((count("email"), count("credit_card")), (Some(json!(1)), Some(json!(1))));
        assert_eq!(count("name").is_some(), level != "minimal");
    }
}

#[test]
fn code_is_reviewed_as_data() {
    let said = "{\"analysis\": \"Short.\", \"issues\": [{\"line\": 3, \"severity\": \"critical\", \"description\": \"d\"}, {\"severity\": \"low\"}]}";
    let (house, mut session) = start(says(said));
    let arguments = json!({ "code": "gets(b);", "language": "c", "analysis_focus": "security" });
    let result = session.call("code_analysis", &arguments);
    let data = without_generation(result["structuredContent"].clone());
    assert_eq!(
        data,
        json!({
            "analysis": "Short.",
            "issues": [
                { "line": 3, "severity": "critical", "description": "d", "suggestion": "" },
                { "severity": "low", "description": "", "suggestion": "" },
            ],
            "metrics": {}, "recommendations": [],
        })
    );
    assert!(house.stand_in().last_chat().contains("gets(b);"));
    let refused = session.call("code_analysis", &json!({ "code": "a", "language": "c" }));
    assert_eq!(refused["isError"], true);
}

#[test]
fn a_template_is_filled_with_what_the_context_tells_and_nothing_else() {
    let (house, mut session) = start(says("{\"NAME\": \"Ann\", \"date\": \"\", \"OTHER\": \"x\"}"));
    let template = "Dear [NAME], see you on {{date}}. [not one]";
    let arguments = json!({ "template": template, "context": "It is Ann's." });
    let result = session.call("template_completion", &arguments);
    assert_eq!(result["content"][0]["text"], "Dear Ann, see you on {{date}}. [not one]");
    let data = &result["structuredContent"];
    assert_eq!((&data["filled"], &data["unfilled"]), (&json!({ "NAME": "Ann" }), &json!(["date"])));
    let sent: Value = serde_json::from_str(&house.stand_in().last_chat()).unwrap();
    let schema = &sent["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["required"], json!(["NAME", "date"]));
    let plain = json!({ "template": "No placeholder.", "context": "a" });
    let result = session.call("template_completion", &plain);
    assert_eq!(result["content"][0]["text"], "No placeholder.");
    assert_eq!(house.stand_in().counts().chats, 1, "nothing had to be asked");
}
