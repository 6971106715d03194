//! Resources, prompts, completions, log messages and changes, over an upstream that comes and goes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test expects and does not find fails it"
)]

use std::sync::{Arc, Mutex};

use local_llm_mcp::cancel::Cancel;
use local_llm_mcp::mcp::{
    CallContext, Change, ClientFeatures, Completion, Content, Inputs, Level, Log, Outcome,
    Reference, ResourceBody, Service, ToolCall, Unusable,
};
use local_llm_mcp::tools::{Defaults, Facts, OwnPrompt, Shown, Toolbox};
use local_llm_mcp::upstream::{BaseUrl, Fleet, Settings};
use serde_json::{Value, json};

use crate::support::house::Plan;
use crate::support::stand_in::{Fault, Kind, Script, StandIn};

const MODEL: &str = "openai/gpt-oss-20b";
const OTHER: &str = "google/gemma-4-e4b";
const EMBEDDING: &str = "text-embedding-nomic-embed-text-v1.5";

fn toolbox(url: &str) -> Toolbox {
    let fleet = Fleet::new(vec![Settings::new(BaseUrl::parse(url).unwrap())]).unwrap();
    let facts = Facts { config: json!({ "listeners": [] }) };
    Toolbox::new(Arc::new(fleet), Defaults::default(), facts)
}

/// A toolbox whose upstream is not there.
fn alone() -> Toolbox {
    let gone = StandIn::start(Script::default());
    let url = gone.url();
    drop(gone);
    toolbox(&url)
}

fn with_context<T>(log: Option<&dyn Log>, run: impl FnOnce(&CallContext<'_>) -> T) -> T {
    run(&CallContext {
        cancel: &Cancel::new(),
        progress: None,
        log,
        client: ClientFeatures::default(),
        principal: "home",
        session: None,
        inputs: &Inputs::default(),
    })
}

fn try_read(toolbox: &Toolbox, uri: &str) -> Result<Value, Unusable> {
    let outcome = with_context(None, |context| toolbox.read(uri, context))?;
    let Outcome::Done(contents) = outcome else { panic!("{outcome:?}") };
    let [one] = contents.as_slice() else { panic!("{contents:?}") };
    assert_eq!((one.uri.as_str(), one.mime_type), (uri, "application/json"));
    let ResourceBody::Text(text) = &one.body else { panic!("{contents:?}") };
    Ok(serde_json::from_str(text).unwrap())
}

fn read(toolbox: &Toolbox, uri: &str) -> Value {
    try_read(toolbox, uri).unwrap()
}

fn complete(toolbox: &Toolbox, reference: Reference, argument: &str, value: &str) -> Vec<String> {
    let what = Completion { reference, argument: argument.to_owned(), value: value.to_owned() };
    with_context(None, |context| toolbox.complete(&what, context)).values
}

#[test]
fn every_resource_that_is_listed_can_be_read() {
    let stand_in = StandIn::start(Script::default());
    for toolbox in [toolbox(&stand_in.url()), alone()] {
        assert_eq!(toolbox.resources().len(), 5);
        for resource in toolbox.resources() {
            assert!(read(&toolbox, resource.uri).is_object(), "{}", resource.uri);
        }
    }
}

#[test]
fn models_are_read_as_the_tool_lists_them() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in.url());
    let models = read(&toolbox, "local://models");
    assert_eq!(models["count"], 3);
    assert_eq!(models["llmModels"], json!([MODEL, OTHER]));
    assert_eq!(models["embeddingModels"], json!([EMBEDDING]));
    assert_eq!(models["defaultModel"], MODEL);
    let summary = json!({"totalModels": 3, "llmCount": 2, "embeddingCount": 1, "loadedCount": 1});
    assert_eq!(models["summary"], summary);
    let call = ToolCall { name: "list_models".to_owned(), arguments: serde_json::Map::new() };
    let listed = with_context(None, |context| toolbox.call(&call, context)).unwrap();
    let Outcome::Done(listed) = listed else { panic!("{listed:?}") };
    assert_eq!(listed.structured.unwrap().value()["models"], models["models"]);
    assert_eq!(read(&toolbox, &format!("local://models/{OTHER}")), models["models"][1]);
}

#[test]
fn a_model_that_is_not_there_is_no_resource() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in.url());
    for uri in
        ["local://models/gpt-oss", "local://models/", "local://nothing", "file:///etc/passwd"]
    {
        assert_eq!(try_read(&toolbox, uri), Err(Unusable::Resource(uri.to_owned())));
    }
}

#[test]
fn an_upstream_that_is_down_is_told_in_the_contents() {
    let toolbox = alone();
    for uri in ["local://models", "local://models/any"] {
        let error = &read(&toolbox, uri)["error"];
        assert_eq!(error["code"], "UPSTREAM_UNREACHABLE", "{uri}");
        assert!(error["details"]["suggestion"].as_str().unwrap().len() > 20, "{error}");
    }
    let status = read(&toolbox, "local://status");
    assert_eq!(status["status"], "offline");
    assert_eq!(status["reachable"], false);
    assert_eq!(status["modelsLoaded"], Value::Null);
    assert_eq!(status["upstreams"][0]["lastError"]["code"], "UPSTREAM_UNREACHABLE");
    let capabilities = read(&toolbox, "local://capabilities");
    assert_eq!(capabilities["modelManagement"]["availableModels"], Value::Null);
    assert_eq!(capabilities["modelManagement"]["error"]["code"], "UPSTREAM_UNREACHABLE");
}

#[test]
fn the_status_tells_what_is_in_memory_and_what_went_wrong() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in.url());
    let status = read(&toolbox, "local://status");
    assert_eq!(status["status"], "online");
    assert_eq!(status["kind"], "LM Studio");
    assert_eq!(status["modelsLoaded"], json!([MODEL]));
    assert_eq!(status["upstreams"][0]["modelCount"], 3);
    assert_eq!(status["lastError"], Value::Null);
    let fault = Fault::Body(500, "{\"error\":\"out of order\"}".to_owned());
    stand_in.play(Script { list_fault: fault, ..Script::default() });
    let status = read(&toolbox, "local://status");
    assert_eq!(status["status"], "offline");
    assert_eq!(status["reachable"], true);
    assert_eq!(status["error"]["code"], status["lastError"]["code"]);
    // A list of this kind does not say what is loaded.
    let stand_in = StandIn::start(Script { kind: Kind::Generic, ..Script::default() });
    let status = read(&self::toolbox(&stand_in.url()), "local://status");
    assert_eq!(status["status"], "online");
    assert_eq!(status["modelsLoaded"], Value::Null);
}

#[test]
fn capabilities_and_settings_are_those_of_this_server() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in.url());
    let capabilities = read(&toolbox, "local://capabilities");
    let config = read(&toolbox, "local://config");
    for tool in toolbox.tools() {
        let told = &capabilities["tools"][tool.name];
        assert_eq!(told["purpose"], tool.description);
        let example = told["example"]["arguments"].as_object().unwrap();
        for argument in example.keys() {
            assert!(told["parameters"][argument].is_string(), "{} {argument}", tool.name);
        }
        assert!(config["tools"].as_array().unwrap().contains(&tool.name.into()));
    }
    assert_eq!(config["settings"], json!({ "listeners": [] }));
    assert_eq!(config["server"], "local-llm-mcp");
}

#[test]
fn models_are_completed_where_a_model_is_wanted() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = with_own_prompt(toolbox(&stand_in.url()));
    let prompt = || Reference::Prompt("ask".to_owned());
    let template = || Reference::Resource(toolbox.templates()[0].uri.to_owned());
    assert_eq!(complete(&toolbox, prompt(), "model", ""), [MODEL, OTHER]);
    assert_eq!(complete(&toolbox, prompt(), "model", "gemma"), [OTHER]);
    assert_eq!(complete(&toolbox, template(), "id", "text"), [EMBEDDING]);
    assert!(complete(&toolbox, prompt(), "question", "").is_empty());
    assert!(complete(&toolbox, Reference::Resource("local://x".to_owned()), "id", "").is_empty());
    assert!(complete(&with_own_prompt(alone()), prompt(), "model", "").is_empty());
}

/// Besides ours a prompt with the name of a model in it.
fn with_own_prompt(toolbox: Toolbox) -> Toolbox {
    let own = OwnPrompt {
        name: "ask".to_owned(),
        description: "Asks a model.".to_owned(),
        arguments: vec![
            ("question".to_owned(), "What.".to_owned(), None),
            ("model".to_owned(), "Which.".to_owned(), Some(String::new())),
        ],
        text: "{{question}}\n{{model}}".to_owned(),
    };
    toolbox.showing(Shown { prompts: vec![own], ..Shown::default() }).unwrap()
}

fn fill(toolbox: &Toolbox, name: &str, arguments: Value) -> Result<String, Unusable> {
    let Value::Object(arguments) = arguments else { panic!("{arguments}") };
    let filled = with_context(None, |context| toolbox.prompt(name, &arguments, context))?;
    let Outcome::Done(filled) = filled else { panic!("{filled:?}") };
    let [message] = filled.messages.as_slice() else { panic!("{filled:?}") };
    let Content::Text(text) = &message.content else { panic!("{filled:?}") };
    assert_eq!(message.role, "user");
    Ok(text.clone())
}

/// Name, required arguments, and the optional ones with their defaults.
type Known = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const PROMPTS: [Known; 12] = [
    ("privacy-analysis", &["content"], &[("regulation", "general privacy principles")]),
    (
        "secure-rewrite",
        &["content"],
        &[("target_audience", "general audience"), ("privacy_level", "moderate")],
    ),
    (
        "document-analysis",
        &["document"],
        &[("focus_areas", "general analysis"), ("domain", "general")],
    ),
    ("risk-assessment", &["scenario"], &[("risk_types", "all risk types"), ("context", "")]),
    (
        "code-security-review",
        &["code", "language"],
        &[("security_focus", "comprehensive security review")],
    ),
    (
        "code-optimization",
        &["code", "language"],
        &[("optimization_goals", "performance and maintainability")],
    ),
    (
        "meeting-summary",
        &["meeting_content"],
        &[("participants", ""), ("focus_areas", "comprehensive summary")],
    ),
    ("email-draft", &["purpose", "recipient"], &[("tone", "professional"), ("key_points", "")]),
    (
        "research-synthesis",
        &["sources"],
        &[("research_question", ""), ("output_format", "comprehensive synthesis")],
    ),
    ("literature-review", &["topic", "sources"], &[("methodology", "systematic review")]),
    (
        "content-adaptation",
        &["original_content", "target_format"],
        &[("target_audience", "general audience")],
    ),
    (
        "technical-documentation",
        &["source_material", "doc_type"],
        &[("audience_level", "intermediate")],
    ),
];

#[test]
fn the_twelve_prompts_have_the_known_names_arguments_and_defaults() {
    let toolbox = alone();
    assert_eq!(toolbox.prompts().len(), PROMPTS.len());
    for (prompt, (name, required, optional)) in toolbox.prompts().iter().zip(PROMPTS) {
        assert_eq!(prompt.name, name);
        let listed: Vec<_> =
            prompt.arguments.iter().map(|it| (it.name.as_ref(), it.required)).collect();
        let expected: Vec<_> = required
            .iter()
            .map(|name| (*name, true))
            .chain(optional.iter().map(|(name, _)| (*name, false)))
            .collect();
        assert_eq!(listed, expected, "{name}");
        // Each value that is given is in the text, and without it the default.
        let mut given = serde_json::Map::new();
        for (at, argument) in required.iter().enumerate() {
            let missing = fill(&toolbox, name, Value::Object(given.clone())).unwrap_err();
            assert!(missing.to_string().contains(&format!("{argument:?}")), "{name}: {missing}");
            given.insert((*argument).to_owned(), format!("Ünïque-{at}").into());
        }
        let text = fill(&toolbox, name, Value::Object(given.clone())).unwrap();
        for at in 0..required.len() {
            assert!(text.contains(&format!("Ünïque-{at}")), "{name}: {text}");
        }
        let deliverables = (5..=9).filter(|n| text.contains(&format!("\n{n}. "))).count();
        assert!(deliverables >= 1 && text.contains("\n1. "), "{name}: {text}");
        assert!(!text.contains("undefined") && !text.contains("{{"), "{name}: {text}");
        for (argument, default) in optional {
            assert!(text.contains(default), "{name} without {argument}: {text}");
            let mut with = given.clone();
            with.insert((*argument).to_owned(), "Öwn".into());
            let changed = fill(&toolbox, name, Value::Object(with)).unwrap();
            assert!(changed.contains("Öwn"), "{name} with {argument}: {changed}");
        }
    }
}

#[test]
fn a_prompt_that_lacks_something_is_refused_by_name_and_an_older_name_is_taken() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    session.initialize("2025-06-18");
    for (params, code, said) in [
        (json!({"name": "email-draft", "arguments": {"purpose": "p"}}), -32602, "recipient"),
        (json!({"name": "email-draft"}), -32602, "purpose"),
        (json!({"name": "secure-rewrite", "arguments": {}}), -32602, "content"),
        (json!({"name": "summarize", "arguments": {}}), -32602, "unknown prompt: summarize"),
    ] {
        let error = session.ask("prompts/get", &params)["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    }
    for argument in ["content", "original_content"] {
        let params = json!({"name": "secure-rewrite", "arguments": {argument: "Ünïque"}});
        let result = session.ask("prompts/get", &params)["result"].clone();
        let text = result["messages"][0]["content"]["text"].as_str().unwrap();
        assert!(text.contains("Ünïque") && text.contains("moderate"), "{text}");
    }
}

#[test]
fn the_owners_prompts_are_offered_beside_ours() {
    let plan = Plan::new();
    plan.scratch.put(
        "prompts/greet.toml",
        "name = \"greet\"\ndescription = \"Greets.\"\ntext = \"Hello {{who}}.\"\n\
         [[arguments]]\nname = \"who\"\ndescription = \"Whom.\"\n",
    );
    plan.scratch.put("prompts/notes.txt", "no prompt");
    let folder = plan.scratch.file("prompts");
    let house = plan.set("MCP_PROMPTS_DIR", folder.to_str().unwrap()).start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    let listed = session.ask("prompts/list", &json!({}))["result"]["prompts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 13);
    assert_eq!(
        listed[0],
        json!({"name": "greet", "title": "greet", "description": "Greets.",
               "arguments": [{"name": "who", "description": "Whom.", "required": true}]})
    );
    let params = json!({"name": "greet", "arguments": {"who": "Ünïque"}});
    let result = session.ask("prompts/get", &params)["result"].clone();
    assert_eq!(result["messages"][0]["content"]["text"], "Hello Ünïque.");
}

#[test]
fn a_filled_prompt_has_a_limit_that_is_named() {
    let plan = Plan::new().limits(|limits| limits.prompt_bytes_max = 1000);
    let house = plan.start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    let params = json!({"name": "privacy-analysis", "arguments": {"content": "x".repeat(1000)}});
    let error = session.ask("prompts/get", &params)["error"].clone();
    assert_eq!(error["code"], -32602);
    assert!(error["message"].as_str().unwrap().contains("prompt_bytes_max (1000)"), "{error}");
}

const STANDARD: &[&str] = &[
    "list_models",
    "get_model_info",
    "chat",
    "local_reasoning",
    "private_analysis",
    "secure_rewrite",
    "code_analysis",
    "template_completion",
    "set_default_model",
    "embed",
    "load_model",
    "unload_model",
    "server_status",
];
const FULL: &[&str] = &["complete", "download_model", "download_status"];
const CLASSIC: &[&str] = &[
    "list_models",
    "get_model_info",
    "local_reasoning",
    "private_analysis",
    "secure_rewrite",
    "code_analysis",
    "template_completion",
    "set_default_model",
];

#[test]
fn a_profile_and_single_tools_decide_what_is_seen_and_what_can_be_called() {
    for (variables, expected) in [
        (&[][..], STANDARD),
        (&[("MCP_PROFILE", "minimal")], &["list_models", "chat"]),
        (&[("MCP_PROFILE", "Full")], &[STANDARD, FULL].concat()),
        (&[("MCP_PROFILE", "classic")], CLASSIC),
        (&[("MCP_PROFILE", "minimal"), ("MCP_TOOLS", "+embed,-list_models")], &["chat", "embed"]),
        (&[("MCP_PROFILE", "minimal"), ("MCP_TOOLS", "-chat")], &["list_models"]),
        (
            &[("MCP_PROFILE", "minimal"), ("MCP_TOOLS", "+health_check")],
            &["list_models", "chat", "health_check"],
        ),
    ] {
        let plan = variables.iter().fold(Plan::new(), |plan, (name, value)| plan.set(name, value));
        let house = plan.start();
        let mut session = house.client().open();
        session.initialize("2025-11-25");
        let tools = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
        let names: Vec<_> =
            tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{variables:?}");
        for name in ["list_models", "chat"].iter().filter(|name| !expected.contains(name)) {
            let params = json!({"name": name, "arguments": {"message": "Hi."}});
            let error = session.ask("tools/call", &params)["error"].clone();
            assert_eq!(error["code"], -32602, "{variables:?} {error}");
            let said = error["message"].as_str().unwrap();
            assert!(said.contains(&format!("unknown tool: {name}")), "{said}");
        }
    }
    let unknown = Plan::new().set("MCP_TOOLS", "+cat").try_start().err().unwrap();
    assert!(unknown.is_configuration());
    let said = unknown.to_string();
    assert!(said.contains("no tool is named \"cat\"; there is chat"), "{said}");
}

#[derive(Default)]
struct Heard(Mutex<Vec<(Level, Value)>>);

impl Log for Heard {
    fn log(&self, level: Level, logger: &str, data: Value) {
        assert_eq!(logger, "chat");
        self.0.lock().unwrap().push((level, data));
    }
}

/// What the client's log hears of one question.
fn heard(script: Script) -> Vec<(Level, Value)> {
    let stand_in = StandIn::start(script);
    let Value::Object(arguments) = json!({ "message": "Ünïque", "model": MODEL }) else {
        panic!()
    };
    let call = ToolCall { name: "chat".to_owned(), arguments };
    let heard = Heard::default();
    let toolbox = toolbox(&stand_in.url());
    with_context(Some(&heard), |context| toolbox.call(&call, context)).unwrap();
    let heard = heard.0.into_inner().unwrap();
    assert!(!format!("{heard:?}").contains("Ünïque"), "{heard:?}");
    heard
}

#[test]
fn the_clients_log_hears_who_is_asked_and_what_went_wrong_but_no_prompt() {
    let asking = (Level::Info, json!({ "event": "asking", "model": MODEL }));
    assert_eq!(heard(Script::default()), std::slice::from_ref(&asking));
    let other = heard(Script { answers_as: Some(OTHER.to_owned()), ..Script::default() });
    assert_eq!(other[0], asking);
    assert_eq!((other[1].0, &other[1].1["event"]), (Level::Warning, &json!("warned")));
    let fault = Fault::Body(400, "{\"error\":\"cannot read Ünïque\"}".to_owned());
    let failed = heard(Script { chat_fault: fault, ..Script::default() });
    let told = json!({ "event": "failed", "model": MODEL, "code": "BAD_REQUEST" });
    assert_eq!(failed, [asking, (Level::Warning, told)]);
}

#[test]
fn a_look_tells_what_has_changed_since_the_one_before() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in.url());
    let look = || toolbox.look(&Cancel::new());
    let changed = |uri: &str| Change::Resource(uri.to_owned());
    assert!(look().is_empty());
    assert!(look().is_empty());
    stand_in.play(Script { loaded: false, ..Script::default() });
    let changes = look();
    assert!(changes.contains(&changed("local://models")), "{changes:?}");
    assert!(changes.contains(&changed("local://status")), "{changes:?}");
    assert!(changes.contains(&changed(&format!("local://models/{MODEL}"))), "{changes:?}");
    assert!(!changes.contains(&changed(&format!("local://models/{OTHER}"))), "{changes:?}");
    assert!(!changes.contains(&Change::ResourcesList), "{changes:?}");
    drop(stand_in);
    let changes = look();
    assert!(changes.contains(&changed("local://status")), "{changes:?}");
    assert!(changes.contains(&Change::ResourcesList), "{changes:?}");
    assert!(look().is_empty());
}
