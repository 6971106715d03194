//! Several upstreams: what each is found to be, who is asked, and who takes over.
#![expect(clippy::unwrap_used, reason = "what a test expects and does not find fails it")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use local_llm_mcp::cancel::{Cancel, Reason};
use local_llm_mcp::upstream::{
    BaseUrl, ChatAnswer, ChatRequest, Failed, Fleet, Kind as UpstreamKind, Message, ModelState,
    Role, Settings, SettingsError,
};

use crate::support::stand_in::{Fault, Kind, MODEL, Script, Stall, StandIn};

const SOON: Duration = Duration::from_secs(20);
const COLD: &str = "google/gemma-4-e4b";

fn named(name: &str, url: &str) -> Settings {
    let mut settings = Settings::new(BaseUrl::parse(url).unwrap());
    name.clone_into(&mut settings.name);
    settings
}

fn two(first: &StandIn, second: &StandIn) -> Fleet {
    Fleet::new(vec![named("desk", &first.url()), named("attic", &second.url())]).unwrap()
}

fn start(kind: Kind) -> StandIn {
    StandIn::start(Script { kind, ..Script::default() })
}

fn ask(fleet: &Fleet, model: Option<&str>) -> Result<ChatAnswer, Failed> {
    let request = ChatRequest {
        model: model.map(str::to_owned),
        messages: vec![Message { role: Role::User, content: "a".to_owned() }],
        ..ChatRequest::default()
    };
    fleet.chat(&request, &Cancel::new(), &mut |_| ())
}

/// A port where nobody listens.
fn nobody() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", free.local_addr().unwrap())
}

#[test]
fn every_kind_of_server_is_found_out_with_what_it_tells() {
    for (kind, expected, version, window) in [
        (Kind::LmStudio, UpstreamKind::LmStudio, None, Some(8192)),
        (Kind::LmStudio03, UpstreamKind::LmStudio03, None, Some(8192)),
        (Kind::Ollama, UpstreamKind::Ollama, Some("0.35.1"), Some(4096)),
        (Kind::LlamaCpp, UpstreamKind::LlamaCpp, Some("b9999"), Some(4096)),
        (Kind::LlamaRouter, UpstreamKind::LlamaRouter, Some("b9999"), None),
        (Kind::Vllm, UpstreamKind::Vllm, Some("0.11.0"), Some(4096)),
        (Kind::Generic, UpstreamKind::OpenAiCompatible, None, None),
    ] {
        let stand_in = start(kind);
        let fleet = Fleet::new(vec![named("desk", &stand_in.url())]).unwrap();
        let list = fleet.main().list_models(&Cancel::new()).unwrap();
        assert_eq!(list.kind, expected);
        let loaded: Vec<_> =
            list.models.iter().filter(|model| model.state == ModelState::Loaded).collect();
        assert_eq!(loaded.len(), usize::from(kind != Kind::Generic), "{kind:?}");
        assert_eq!(loaded.first().and_then(|model| model.context_length), window, "{kind:?}");
        let state = fleet.main().state();
        assert_eq!((state.kind, state.version.as_deref()), (Some(expected), version));
        assert!(state.latency.is_some() && state.models.is_some());
        let answer = ask(&fleet, None).unwrap();
        assert!(answer.text.ends_with("You said: a") && answer.warnings.is_empty(), "{answer:?}");
    }
}

#[test]
fn a_kind_that_is_told_is_not_searched_for() {
    for (kind, told, path) in [
        (Kind::Generic, "generic", "GET /v1/models"),
        (Kind::Ollama, "ollama", "GET /api/tags"),
        (Kind::Vllm, "vllm", "GET /v1/models"),
        (Kind::LmStudio, "lmstudio", "GET /api/v1/models"),
        (Kind::LlamaCpp, "llamacpp", "GET /props"),
    ] {
        let stand_in = start(kind);
        let mut settings = named("desk", &stand_in.url());
        settings.kind = UpstreamKind::parse(told);
        assert!(settings.kind.is_some());
        let fleet = Fleet::new(vec![settings]).unwrap();
        let list = fleet.main().list_models(&Cancel::new()).unwrap();
        assert_eq!((list.kind.as_str(), stand_in.targets()[0].as_str()), (told, path));
    }
}

#[test]
fn a_server_that_wants_a_token_ends_the_search_at_once() {
    for kind in [Kind::LlamaCpp, Kind::Generic, Kind::Vllm] {
        let stand_in =
            StandIn::start(Script { kind, token: Some("a".to_owned()), ..Script::default() });
        let fleet = Fleet::new(vec![named("desk", &stand_in.url())]).unwrap();
        assert_eq!(ask(&fleet, None).unwrap_err().code(), "UPSTREAM_AUTH");
        assert_eq!(stand_in.counts().requests, 1);
    }
}

#[test]
fn a_restart_as_another_kind_is_invisible() {
    let first = start(Kind::LmStudio);
    let address = first.url();
    let fleet = Fleet::new(vec![named("desk", &address)]).unwrap();
    ask(&fleet, None).unwrap();
    drop(first);
    let address = address.strip_prefix("http://").unwrap();
    assert_eq!(ask(&fleet, None).unwrap_err().code(), "UPSTREAM_UNREACHABLE");
    let script = Script { kind: Kind::Vllm, ..Script::default() };
    let _second = StandIn::start_on(address, script).unwrap();
    assert_eq!(ask(&fleet, None).unwrap().model, MODEL);
    assert_eq!(fleet.main().state().kind, Some(UpstreamKind::Vllm));
}

#[test]
fn a_server_that_comes_back_within_a_moment_is_asked_again() {
    let url = nobody();
    let fleet = Fleet::new(vec![named("desk", &url)]).unwrap();
    let address = url.strip_prefix("http://").unwrap();
    let mut back = None;
    let request = ChatRequest {
        messages: vec![Message { role: Role::User, content: "a".to_owned() }],
        ..ChatRequest::default()
    };
    // Heard as the first attempt begins, and again when it was refused and the moment is over.
    let mut heard = 0;
    let mut on = |_: local_llm_mcp::upstream::ChatEvent<'_>| {
        heard += 1;
        if heard == 2 {
            back = Some(StandIn::start_on(address, Script::default()).unwrap());
        }
    };
    fleet.chat(&request, &Cancel::new(), &mut on).unwrap();
}

#[test]
fn a_call_goes_to_whoever_has_the_model_in_memory_else_has_it_else_to_the_default() {
    let (desk, attic) = (start(Kind::LmStudio), start(Kind::Ollama));
    let fleet = two(&desk, &attic);
    assert_eq!(ask(&fleet, Some(MODEL)).unwrap().upstream, "desk");
    assert_eq!(ask(&fleet, Some("llama3.2")).unwrap().upstream, "attic");
    assert_eq!(ask(&fleet, None).unwrap().upstream, "desk");
    // Only on disk here, in memory there.
    let cold = StandIn::start(Script { loaded: false, jit: true, ..Script::default() });
    let fleet = two(&cold, &desk);
    assert_eq!(ask(&fleet, Some(MODEL)).unwrap().upstream, "attic");
    assert_eq!(ask(&fleet, None).unwrap().upstream, "attic");
    assert_eq!(ask(&fleet, Some(COLD)).unwrap().upstream, "desk");
    let failed = ask(&two(&desk, &attic), Some("gpt-4")).unwrap_err();
    assert_eq!((failed.upstream.as_str(), failed.code()), ("desk", "MODEL_NOT_FOUND"));
}

#[test]
fn an_upstream_can_be_named_and_an_unknown_name_is_told_the_known_ones() {
    let (desk, attic) = (start(Kind::LmStudio), start(Kind::LmStudio));
    let fleet = two(&desk, &attic);
    let mut request = ChatRequest {
        upstream: Some("attic".to_owned()),
        messages: vec![Message { role: Role::User, content: "a".to_owned() }],
        ..ChatRequest::default()
    };
    let answer = fleet.chat(&request, &Cancel::new(), &mut |_| ()).unwrap();
    assert_eq!((answer.upstream.as_str(), desk.counts().requests), ("attic", 0));
    request.upstream = Some("cellar".to_owned());
    let failed = fleet.chat(&request, &Cancel::new(), &mut |_| ()).unwrap_err();
    assert_eq!(failed.code(), "INVALID_ARGUMENT");
    assert!(failed.to_string().contains("desk, attic"), "{failed}");
}

#[test]
fn a_configured_model_answers_when_none_is_named() {
    let desk = start(Kind::LmStudio);
    let mut settings = named("desk", &desk.url());
    settings.default_model = Some(COLD.to_owned());
    let fleet = Fleet::new(vec![settings]).unwrap();
    assert_eq!(ask(&fleet, None).unwrap().model, COLD);
}

#[test]
fn the_next_one_that_has_the_model_takes_over_when_nothing_could_be_sent() {
    let attic = start(Kind::LmStudio);
    let fleet = Fleet::new(vec![named("desk", &nobody()), named("attic", &attic.url())]).unwrap();
    assert_eq!(ask(&fleet, Some(MODEL)).unwrap().upstream, "attic");
    // Also when the first one goes away between its list and the question.
    let desk = start(Kind::LmStudio);
    let fleet = two(&desk, &attic);
    for upstream in fleet.upstreams() {
        upstream.list_models(&Cancel::new()).unwrap();
    }
    drop(desk);
    assert_eq!(ask(&fleet, Some(MODEL)).unwrap().upstream, "attic");
    // Nobody else has it: the failure of the one that has it is told.
    let desk = start(Kind::LmStudio);
    let ollama = start(Kind::Ollama);
    let fleet = two(&desk, &ollama);
    fleet.main().list_models(&Cancel::new()).unwrap();
    drop(desk);
    let failed = ask(&fleet, Some(MODEL)).unwrap_err();
    assert_eq!((failed.upstream.as_str(), failed.code()), ("desk", "UPSTREAM_UNREACHABLE"));
    assert_eq!(ollama.counts().chats, 0);
}

#[test]
fn what_was_written_is_never_sent_to_another() {
    for fault in
        [Fault::ResetBeforeHead, Fault::Truncate { after: 0 }, Fault::Body(500, "a".to_owned())]
    {
        let desk = StandIn::start(Script { chat_fault: fault.clone(), ..Script::default() });
        let attic = start(Kind::LmStudio);
        let failed = ask(&two(&desk, &attic), Some(MODEL)).unwrap_err();
        assert_eq!(failed.upstream, "desk", "{fault:?}");
        assert_eq!((desk.counts().chats, attic.counts().chats), (1, 0), "{fault:?}");
    }
}

#[test]
fn a_token_goes_to_its_own_upstream_alone() {
    let (desk, attic) = (start(Kind::LmStudio), start(Kind::Ollama));
    let mut first = named("desk", &desk.url());
    first.api_token = Some("sk-lm-desk".to_owned());
    let fleet = Fleet::new(vec![first, named("attic", &attic.url())]).unwrap();
    ask(&fleet, Some("llama3.2")).unwrap();
    assert_eq!(desk.last_token().as_deref(), Some("sk-lm-desk"));
    assert_eq!(attic.last_token(), None);
}

#[test]
fn all_lists_are_asked_for_at_once_and_one_that_is_down_is_told_beside_the_others() {
    let desk = start(Kind::LmStudio);
    let fleet = Fleet::new(vec![named("desk", &desk.url()), named("attic", &nobody())]).unwrap();
    let lists = fleet.lists(&Cancel::new());
    assert_eq!(lists.len(), 2);
    assert_eq!(lists[0].models.as_ref().unwrap().models.len(), 3);
    assert_eq!(lists[1].models.as_ref().unwrap_err().code(), "UPSTREAM_UNREACHABLE");
    assert_eq!(lists[1].upstream.name(), "attic");
}

#[test]
fn a_cancel_while_a_list_is_awaited_ends_the_call() {
    let desk = StandIn::start(Script { stall: Stall::BeforeHead, ..Script::default() });
    let fleet = Fleet::new(vec![named("desk", &desk.url())]).unwrap();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            fleet.chat(&ChatRequest::default(), &cancel, &mut |_| ()).unwrap_err().code()
        });
        assert!(desk.wait_for(|counts| counts.stalled == 1, SOON));
        cancel.fire(Reason::Requested);
        assert_eq!(call.join().unwrap(), "CANCELLED");
    });
}

#[test]
fn settings_that_cannot_be_told_apart_or_read_are_refused() {
    let url = nobody();
    for settings in [Vec::new(), vec![named("a", &url), named("a", &url)]] {
        assert!(matches!(Fleet::new(settings), Err(SettingsError::Names(_))));
    }
    let mut private = named("a", "https://desk.local:1234");
    private.ca_file = Some("/nowhere/ca.pem".into());
    let error = Fleet::new(vec![private]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[test]
fn a_list_that_has_not_changed_is_asked_for_again_but_read_once() {
    for kind in [Kind::LmStudio, Kind::Ollama] {
        let stand_in = StandIn::start(Script { kind, ..Script::default() });
        let fleet = Fleet::new(vec![named("desk", &stand_in.url())]).unwrap();
        let look = || fleet.main().list_models(&Cancel::new()).unwrap();
        let (first, second) = (look(), look());
        assert!(Arc::ptr_eq(&first, &second), "{kind:?}");
        assert!(stand_in.counts().lists >= 2, "{kind:?}");
        stand_in.play(Script { kind, loaded: false, ..Script::default() });
        let third = look();
        assert!(!Arc::ptr_eq(&second, &third), "{kind:?}");
        assert_ne!(second, third, "{kind:?}");
    }
}
