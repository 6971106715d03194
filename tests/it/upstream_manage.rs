//! Embeddings, loading, unloading and downloading, at each kind of server.
#![expect(clippy::unwrap_used, reason = "what a test expects and does not find fails it")]

use std::time::{Duration, Instant};

use local_llm_mcp::cancel::{Cancel, Reason};
use local_llm_mcp::upstream::{
    BaseUrl, ChatEvent, Download, EmbedRequest, Failed, Fleet, LoadRequest, Loaded, Settings,
};

use crate::support::stand_in::{Kind, MODEL, Script, Stall, StandIn};

const SOON: Duration = Duration::from_secs(20);
const COLD: &str = "google/gemma-4-e4b";

fn fleet(stand_in: &StandIn) -> Fleet {
    Fleet::new(vec![Settings::new(BaseUrl::parse(&stand_in.url()).unwrap())]).unwrap()
}

fn start(kind: Kind) -> StandIn {
    StandIn::start(Script { kind, ..Script::default() })
}

fn load(fleet: &Fleet, model: &str) -> (Result<Loaded, Failed>, Vec<u8>) {
    let request = LoadRequest { model: model.to_owned(), ..LoadRequest::default() };
    let mut steps = Vec::new();
    let mut on = |event: ChatEvent<'_>| {
        if let ChatEvent::Loading(percent) = event {
            steps.push(percent);
        }
    };
    (fleet.load(&request, &Cancel::new(), &mut on), steps)
}

fn texts() -> EmbedRequest {
    EmbedRequest { input: vec!["a".to_owned(), "bcd".to_owned()], ..EmbedRequest::default() }
}

#[test]
fn texts_become_vectors_in_their_order() {
    for (kind, model, path) in [
        (Kind::LmStudio, "text-embedding-nomic-embed-text-v1.5", "POST /v1/embeddings"),
        (Kind::Ollama, "nomic-embed-text:latest", "POST /api/embed"),
        (Kind::Generic, "text-embedding-nomic-embed-text-v1.5", "POST /v1/embeddings"),
    ] {
        let stand_in = start(kind);
        let embeddings = fleet(&stand_in).embed(&texts(), &Cancel::new(), &mut |_| ()).unwrap();
        assert_eq!(embeddings.vectors, [[1.0, 0.5], [3.0, 0.5]], "{kind:?}");
        assert_eq!(embeddings.model, model);
        assert_eq!(stand_in.targets().last().unwrap(), path);
    }
}

#[test]
fn a_server_without_embeddings_says_so_in_its_own_words() {
    let stand_in = start(Kind::LlamaCpp);
    let request = EmbedRequest { model: Some("tiny-bridge".to_owned()), ..texts() };
    let failed = fleet(&stand_in).embed(&request, &Cancel::new(), &mut |_| ()).unwrap_err();
    assert_eq!(failed.code(), "NOT_SUPPORTED_BY_UPSTREAM");
    assert!(failed.to_string().contains("--embeddings"), "{failed}");
    let failed = fleet(&stand_in).embed(&texts(), &Cancel::new(), &mut |_| ()).unwrap_err();
    assert_eq!(failed.code(), "NO_MODEL_LOADED", "it has no embedding model");
}

#[test]
fn texts_are_sent_some_at_a_time_to_one_upstream_that_is_looked_at_once() {
    // Slower than what is remembered of a list lasts.
    let pace = Some(Duration::from_millis(1100));
    let stand_in = StandIn::start(Script { pace, ..Script::default() });
    let request = EmbedRequest { input: vec!["a".to_owned(); 70], ..EmbedRequest::default() };
    let mut done = Vec::new();
    let mut on = |event: ChatEvent<'_>| {
        if let ChatEvent::Embedded(count) = event {
            done.push(count);
        }
    };
    let embeddings = fleet(&stand_in).embed(&request, &Cancel::new(), &mut on).unwrap();
    assert_eq!((embeddings.vectors.len(), done), (70, vec![32, 64, 70]));
    let targets = stand_in.targets();
    assert_eq!(targets.iter().filter(|it| *it == "POST /v1/embeddings").count(), 3);
    assert_eq!(stand_in.counts().lists, 1, "{targets:?}");
}

#[test]
fn a_model_is_loaded_once_and_with_progress_where_that_can_be_had() {
    for (kind, model, steps) in [
        (Kind::LmStudio, COLD, &[0, 0, 25, 65, 100][..]),
        (Kind::Ollama, "nomic-embed-text", &[0]),
        (Kind::LlamaRouter, "tiny-other", &[0]),
    ] {
        let stand_in = start(kind);
        let fleet = fleet(&stand_in);
        let (loaded, heard) = load(&fleet, model);
        let loaded = loaded.unwrap();
        assert!(!loaded.already_loaded && loaded.instance_id.starts_with(model), "{loaded:?}");
        assert_eq!(heard, steps, "{kind:?}");
        assert_eq!(stand_in.loaded().len(), 2);
        let before = stand_in.counts();
        let (again, heard) = load(&fleet, model);
        assert!(again.unwrap().already_loaded && heard.is_empty());
        assert_eq!(stand_in.counts().loads, before.loads);
        assert_eq!(stand_in.counts().chats, before.chats);
    }
}

#[test]
fn a_load_with_settings_goes_to_the_endpoint_that_takes_them() {
    let stand_in = start(Kind::LmStudio);
    let request = LoadRequest {
        model: COLD.to_owned(),
        context_length: Some(16_384),
        flash_attention: Some(true),
        ..LoadRequest::default()
    };
    let loaded = fleet(&stand_in).load(&request, &Cancel::new(), &mut |_| ()).unwrap();
    assert_eq!((stand_in.counts().loads, stand_in.counts().chats), (1, 0));
    // The stand-in loads with a window of its own.
    assert_eq!(loaded.context_length, Some(4096));
    assert!(loaded.warnings.iter().any(|told| told.contains("16384")), "{loaded:?}");
}

#[test]
fn a_larger_window_never_stacks_a_second_copy() {
    let stand_in = start(Kind::LmStudio);
    let request = LoadRequest {
        model: MODEL.to_owned(),
        context_length: Some(32_768),
        ..LoadRequest::default()
    };
    let loaded = fleet(&stand_in).load(&request, &Cancel::new(), &mut |_| ()).unwrap();
    assert!(loaded.already_loaded);
    assert!(loaded.warnings.iter().any(|told| told.contains("unload it first")), "{loaded:?}");
    assert_eq!(stand_in.counts().loads, 0);
}

#[test]
fn a_load_that_fails_or_cannot_be_says_why() {
    let said = "Failed to load model \"google/gemma-4-e4b\". Error: out of memory.";
    let stand_in =
        StandIn::start(Script { load_fault: Some(said.to_owned()), ..Script::default() });
    let failed = load(&fleet(&stand_in), COLD).0.unwrap_err();
    assert_eq!(failed.code(), "MODEL_LOAD_FAILED");
    assert!(failed.to_string().contains("out of memory"), "{failed}");
    let failed = load(&fleet(&stand_in), "gemma-4-e4c").0.unwrap_err();
    assert_eq!(failed.code(), "MODEL_NOT_FOUND");
    assert!(failed.next_step().contains(COLD), "{}", failed.next_step());
    let generic = start(Kind::Generic);
    let failed = load(&fleet(&generic), MODEL).0.unwrap_err();
    assert_eq!(failed.code(), "NOT_SUPPORTED_BY_UPSTREAM");
    assert!(failed.to_string().contains("Ollama"), "{failed}");
}

#[test]
fn a_cancel_ends_the_wait_for_a_load() {
    let stand_in = StandIn::start(Script { stall: Stall::BeforeChatHead, ..Script::default() });
    let fleet = fleet(&stand_in);
    let cancel = Cancel::new();
    let request = LoadRequest {
        model: COLD.to_owned(),
        context_length: Some(8192),
        ..LoadRequest::default()
    };
    std::thread::scope(|scope| {
        let call = scope.spawn(|| fleet.load(&request, &cancel, &mut |_| ()));
        assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
        cancel.fire(Reason::Requested);
        assert_eq!(call.join().unwrap().unwrap_err().code(), "CANCELLED");
    });
}

#[test]
fn a_model_is_unloaded_by_its_name_and_a_second_time_nothing_happens() {
    for (kind, name, gone) in [
        (Kind::LmStudio, MODEL, MODEL),
        (Kind::Ollama, "llama3.2", "llama3.2:latest"),
        (Kind::LlamaRouter, "tiny-bridge", "tiny-bridge"),
    ] {
        let stand_in = start(kind);
        let fleet = fleet(&stand_in);
        let (_, unloaded) = fleet.unload(None, name, None, &Cancel::new(), &mut |_| ()).unwrap();
        assert_eq!((unloaded, stand_in.loaded().len()), (vec![gone.to_owned()], 0), "{kind:?}");
        let (_, unloaded) = fleet.unload(None, name, None, &Cancel::new(), &mut |_| ()).unwrap();
        assert!(unloaded.is_empty() && stand_in.counts().unloads == 1);
        let failed =
            fleet.unload(None, "nothing-like-it", None, &Cancel::new(), &mut |_| ()).unwrap_err();
        assert_eq!(failed.code(), "MODEL_NOT_FOUND");
    }
    let vllm = start(Kind::Vllm);
    let failed = fleet(&vllm).unload(None, MODEL, None, &Cancel::new(), &mut |_| ()).unwrap_err();
    assert_eq!(failed.code(), "NOT_SUPPORTED_BY_UPSTREAM");
}

fn follow(fleet: &Fleet, begun: &Download) -> (Download, usize) {
    let mut heard = 0;
    let until = Instant::now() + SOON;
    let status =
        fleet.follow_download(begun.clone(), &Cancel::new(), until, None, &mut |_| heard += 1);
    (status.unwrap(), heard)
}

#[test]
fn a_download_is_begun_and_watched_at_lm_studio() {
    let stand_in = start(Kind::LmStudio);
    let fleet = fleet(&stand_in);
    let begun = fleet
        .download(None, "ibm/granite-4-micro", None, &Cancel::new(), None, &mut || ())
        .unwrap();
    assert_eq!((begun.status.as_str(), begun.is_over()), ("downloading", false));
    let (status, _) = follow(&fleet, &begun);
    assert_eq!((status.status.as_str(), status.percent()), ("completed", Some(100.0)));
    let failed =
        fleet.download_status(None, "../models", &Cancel::new(), None, &mut || ()).unwrap_err();
    assert_eq!(failed.code(), "BAD_REQUEST");
}

#[test]
fn a_download_at_ollama_goes_on_without_its_caller_and_ends_with_the_house() {
    let script = Script { kind: Kind::Ollama, stall: Stall::After(1), ..Script::default() };
    let stand_in = StandIn::start(script);
    let fleet = fleet(&stand_in);
    let begun = fleet.download(None, "qwen3", None, &Cancel::new(), None, &mut || ()).unwrap();
    let job = begun.job_id.as_deref();
    assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
    let again = fleet.download(None, "qwen3", None, &Cancel::new(), None, &mut || ()).unwrap();
    assert_eq!(again.job_id.as_deref(), job, "it is not begun twice");
    stand_in.release();
    let (status, _) = follow(&fleet, &begun);
    assert_eq!((status.status.as_str(), status.percent()), ("completed", Some(100.0)));
    let pulls = stand_in.targets().iter().filter(|target| *target == "POST /api/pull").count();
    assert_eq!(pulls, 1);

    let script = Script { kind: Kind::Ollama, stall: Stall::After(1), ..Script::default() };
    let stalled = StandIn::start(script);
    let house = self::fleet(&stalled);
    house.download(None, "qwen3", None, &Cancel::new(), None, &mut || ()).unwrap();
    assert!(stalled.wait_for(|counts| counts.stalled == 1, SOON));
    drop(house);
    assert!(stalled.wait_for(|counts| counts.stalled == 0, SOON), "the socket was closed");
}

#[test]
fn a_download_that_fails_or_cannot_be_says_why() {
    let script = Script {
        kind: Kind::Ollama,
        load_fault: Some("file does not exist".to_owned()),
        ..Script::default()
    };
    let stand_in = StandIn::start(script);
    let fleet_of_ollama = fleet(&stand_in);
    let begun =
        fleet_of_ollama.download(None, "nothing", None, &Cancel::new(), None, &mut || ()).unwrap();
    let (status, _) = follow(&fleet_of_ollama, &begun);
    assert_eq!(status.status, "failed");
    assert!(status.error.unwrap().contains("does not exist"));
    let generic = start(Kind::Generic);
    let failed =
        fleet(&generic).download(None, "a", None, &Cancel::new(), None, &mut || ()).unwrap_err();
    assert_eq!(failed.code(), "NOT_SUPPORTED_BY_UPSTREAM");
}
