//! The generation engine over the stand-in: what somebody who asks sees on each path.
#![expect(clippy::unwrap_used, reason = "what a test expects and does not find fails it")]

use std::time::{Duration, Instant};

use local_llm_mcp::cancel::{Cancel, Reason};
use local_llm_mcp::upstream::{
    BaseUrl, ChatAnswer, ChatEvent, ChatRequest, Effort, Finish, Fleet, Load, Message, Role,
    Settings, UpstreamError,
};
use serde_json::{Value, json};

use crate::support::stand_in::{Delta, Fault, Kind, MODEL, Script, Stall, StandIn};

const SOON: Duration = Duration::from_secs(20);
const COLD: &str = "google/gemma-4-e4b";

fn settings(stand_in: &StandIn) -> Settings {
    Settings::new(BaseUrl::parse(&stand_in.url()).unwrap())
}

fn fleet(stand_in: &StandIn) -> Fleet {
    Fleet::new(vec![settings(stand_in)]).unwrap()
}

fn question() -> ChatRequest {
    ChatRequest {
        messages: vec![Message { role: Role::User, content: "Capital of France?".to_owned() }],
        ..ChatRequest::default()
    }
}

fn ask(fleet: &Fleet, request: &ChatRequest) -> Result<ChatAnswer, UpstreamError> {
    fleet.chat(request, &Cancel::new(), &mut |_| ()).map_err(|failed| failed.error)
}

/// Asks and writes down what is heard, tokens by their first letters.
fn heard(fleet: &Fleet, request: &ChatRequest) -> (Result<ChatAnswer, UpstreamError>, Vec<String>) {
    let mut heard = Vec::new();
    let mut on = |event: ChatEvent<'_>| {
        if event != ChatEvent::Waiting {
            heard.push(format!("{event:?}"));
        }
    };
    let outcome = fleet.chat(request, &Cancel::new(), &mut on).map_err(|failed| failed.error);
    (outcome, heard)
}

fn says(words: &[&str]) -> Vec<Delta> {
    words.iter().map(|word| Delta::Content((*word).to_owned())).collect()
}

fn paris() -> Script {
    Script { deltas: says(&["Par", "is"]), ..Script::default() }
}

fn sent(stand_in: &StandIn) -> Value {
    serde_json::from_str(&stand_in.last_chat()).unwrap()
}

#[test]
fn a_model_that_is_not_in_memory_is_loaded_with_progress() {
    let stand_in = StandIn::start(Script {
        deltas: vec![Delta::Reasoning("hm".to_owned()), Delta::Content("Paris".to_owned())],
        ..Script::default()
    });
    let request = ChatRequest { model: Some(COLD.to_owned()), ..question() };
    let fleet = fleet(&stand_in);
    let (answer, heard) = heard(&fleet, &request);
    let answer = answer.unwrap();
    assert_eq!(
        heard,
        [
            &format!("Asking {{ upstream: \"127.0.0.1\", model: {COLD:?} }}"),
            "Loading(0)",
            "Loading(25)",
            "Loading(65)",
            "Loading(100)",
            "Reading(0)",
            "Reading(50)",
            "Thinking(\"hm\")",
            "Writing(\"Paris\")"
        ]
    );
    assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("Paris", "hm"));
    assert_eq!((answer.model.as_str(), answer.requested_model.as_str()), (COLD, COLD));
    assert_eq!(
        (answer.load, answer.upstream.as_str()),
        (Some(Duration::from_millis(1500)), "127.0.0.1")
    );
    assert_eq!(answer.usage.reasoning_tokens, Some(9));
    assert_eq!(answer.tokens_per_second(), Some(43.73));
    assert_eq!((sent(&stand_in)["store"].clone(), answer.conversation), (json!(false), None));
    assert!(stand_in.targets().contains(&"POST /api/v1/chat".to_owned()));
    // It is in memory now, and the engine knows.
    ask(&fleet, &request).unwrap();
    assert_eq!(stand_in.targets().last().unwrap(), "POST /v1/chat/completions");
}

#[test]
fn a_model_that_cannot_be_loaded_says_why() {
    let said = "Failed to load model \"google/gemma-4-e4b\". Error: insufficient system resources.";
    let stand_in =
        StandIn::start(Script { load_fault: Some(said.to_owned()), ..Script::default() });
    let request = ChatRequest { model: Some(COLD.to_owned()), ..question() };
    let error = ask(&fleet(&stand_in), &request).unwrap_err();
    assert_eq!(error.code(), "MODEL_LOAD_FAILED");
    assert!(error.to_string().contains("insufficient system resources"), "{error}");
}

#[test]
fn a_kept_conversation_goes_on_by_its_name_and_only_where_it_can() {
    let stand_in = StandIn::start(paris());
    let kept = ChatRequest { store: true, ..question() };
    let fleet_of_studio = fleet(&stand_in);
    let answer = ask(&fleet_of_studio, &kept).unwrap();
    let name = answer.conversation.unwrap();
    assert_eq!(sent(&stand_in)["store"], true);
    let next = ChatRequest { conversation: Some(name.clone()), ..question() };
    assert_eq!(ask(&fleet_of_studio, &next).unwrap().text, "Paris");
    assert_eq!(sent(&stand_in)["previous_response_id"], json!(name));
    let schema = ChatRequest { json_schema: Some("{}".to_owned()), ..next.clone() };
    let error = ask(&fleet_of_studio, &schema).unwrap_err();
    assert_eq!(error.code(), "NOT_SUPPORTED_BY_UPSTREAM");
    let generic = StandIn::start(Script { kind: Kind::Generic, ..paris() });
    assert_eq!(ask(&fleet(&generic), &next).unwrap_err().code(), "NOT_SUPPORTED_BY_UPSTREAM");
    assert_eq!(generic.counts().chats, 0);
}

#[test]
fn images_are_sent_in_the_shape_of_each_server() {
    let image = "data:image/png;base64,iVBORw0KGgo=";
    let request = ChatRequest { images: vec![image.to_owned()], ..question() };
    let studio = StandIn::start(paris());
    ask(&fleet(&studio), &request).unwrap();
    assert_eq!(sent(&studio)["input"][1], json!({"type": "image", "data_url": image}));
    let generic = StandIn::start(Script { kind: Kind::Generic, ..paris() });
    ask(&fleet(&generic), &request).unwrap();
    let part = &sent(&generic)["messages"][0]["content"][1];
    assert_eq!(part, &json!({"type": "image_url", "image_url": {"url": image}}));
    let said = "Error in iterating prediction stream: ValueError: Vision add-on is not loaded, but \
                images were provided for processing";
    let blind = Fault::Body(200, json!({"error": {"message": said}, "message": said}).to_string());
    let studio = StandIn::start(Script { chat_fault: blind, ..paris() });
    let error = ask(&fleet(&studio), &request).unwrap_err();
    assert_eq!(error.code(), "NOT_SUPPORTED_BY_UPSTREAM");
}

#[test]
fn a_native_api_that_refuses_our_shape_is_left_for_the_other_one() {
    let stand_in = StandIn::start(Script { native_is_strict: true, ..paris() });
    let request = ChatRequest { model: Some(COLD.to_owned()), ..question() };
    assert_eq!(ask(&fleet(&stand_in), &request).unwrap().text, "Paris");
    let posts: Vec<_> =
        stand_in.targets().into_iter().filter(|target| target.starts_with("POST")).collect();
    assert_eq!(posts, ["POST /api/v1/chat", "POST /v1/chat/completions"]);
    assert_eq!(stand_in.counts().started, 1, "nothing was generated twice");
}

#[test]
fn what_a_server_refuses_by_name_is_left_out_once_and_remembered() {
    let stand_in = StandIn::start(Script {
        kind: Kind::Generic,
        refuses: vec!["stream_options", "response_format"],
        ..paris()
    });
    let fleet = fleet(&stand_in);
    let request =
        ChatRequest { json_schema: Some(r#"{"type":"object"}"#.to_owned()), ..question() };
    let answer = ask(&fleet, &request).unwrap();
    assert_eq!(answer.text, "Paris");
    assert!(answer.warnings.iter().any(|told| told.contains("JSON Schema")), "{answer:?}");
    assert_eq!((stand_in.counts().chats, stand_in.counts().started), (3, 1));
    ask(&fleet, &request).unwrap();
    assert_eq!((stand_in.counts().chats, stand_in.counts().started), (4, 2));
}

#[test]
fn every_sampling_argument_and_a_schema_reach_the_server() {
    let stand_in = StandIn::start(paris());
    let request = ChatRequest {
        json_schema: Some(r#"{"type":"object"}"#.to_owned()),
        effort: Some(Effort::Off),
        frequency_penalty: Some(0.5),
        presence_penalty: Some(-0.5),
        ..question()
    };
    ask(&fleet(&stand_in), &request).unwrap();
    let sent = sent(&stand_in);
    assert_eq!(sent["response_format"]["json_schema"]["schema"], json!({"type": "object"}));
    assert_eq!(sent["reasoning_effort"], "none");
    assert_eq!(
        (&sent["frequency_penalty"], &sent["presence_penalty"]),
        (&json!(0.5), &json!(-0.5))
    );
}

#[test]
fn a_text_is_completed_without_a_chat() {
    for kind in [Kind::LmStudio, Kind::LlamaCpp, Kind::Generic] {
        let stand_in =
            StandIn::start(Script { kind, deltas: says(&[" to", " live"]), ..Script::default() });
        let request = ChatRequest {
            complete: Some("the meaning of life is".to_owned()),
            stop: vec!["\n".to_owned()],
            ..ChatRequest::default()
        };
        let answer = ask(&fleet(&stand_in), &request).unwrap();
        assert_eq!(answer.text, " to live");
        assert_eq!(sent(&stand_in)["prompt"], "the meaning of life is");
        assert_eq!(stand_in.targets().last().unwrap(), "POST /v1/completions");
    }
}

#[test]
fn a_server_that_does_not_stream_is_understood_all_the_same() {
    let stand_in = StandIn::start(Script { streams: false, ..paris() });
    let answer = ask(&fleet(&stand_in), &question()).unwrap();
    assert_eq!((answer.text.as_str(), answer.finish), ("Paris", Finish::Stop));
}

#[test]
fn a_prompt_that_cannot_fit_is_refused_without_asking_and_names_both_numbers() {
    let long = Message { role: Role::User, content: "word ".repeat(60_000) };
    let request = ChatRequest { messages: vec![long], ..ChatRequest::default() };
    let stand_in = StandIn::start(paris());
    let error = ask(&fleet(&stand_in), &request).unwrap_err();
    assert_eq!(error.code(), "CONTEXT_OVERFLOW");
    let said = error.to_string();
    assert!(said.contains("about 75000") && said.contains("8192"), "{said}");
    assert_eq!(stand_in.counts().chats, 0);
    // A server that tells no window is let judge.
    let generic = StandIn::start(Script { kind: Kind::Generic, ..paris() });
    ask(&fleet(&generic), &request).unwrap();
}

#[test]
fn llama_counts_the_tokens_itself_before_a_prompt_is_refused() {
    let stand_in = StandIn::start(Script { kind: Kind::LlamaCpp, window: 512, ..paris() });
    let fleet = fleet(&stand_in);
    // The estimate is too high, the server's count (a token a word there) is not.
    let words = Message { role: Role::User, content: "abcdefghi ".repeat(400) };
    let fits = ChatRequest { messages: vec![words], ..ChatRequest::default() };
    assert_eq!(ask(&fleet, &fits).unwrap().text, "Paris");
    let words = Message { role: Role::User, content: "abc ".repeat(600) };
    let long = ChatRequest { messages: vec![words], ..ChatRequest::default() };
    let error = ask(&fleet, &long).unwrap_err();
    assert!(error.to_string().contains("the prompt has 600 tokens"), "{error}");
    let (answer, heard) = heard(&fleet, &question());
    answer.unwrap();
    assert!(heard.contains(&"Reading(50)".to_owned()), "{heard:?}");
}

#[test]
fn an_answer_of_nothing_says_what_was_read() {
    let stand_in = StandIn::start(Script { says_nothing: true, ..Script::default() });
    let error = ask(&fleet(&stand_in), &question()).unwrap_err();
    assert_eq!(error.code(), "EMPTY_OUTPUT");
    assert!(error.to_string().contains("had read 29 tokens"), "{error}");
}

#[test]
fn an_answer_is_whole_whatever_happens_behind_it() {
    let lingers = Script { lingers: true, ..paris() };
    let resets = Script { chat_fault: Fault::ResetAfterDone, ..paris() };
    for script in [lingers, resets] {
        let stand_in = StandIn::start(script.clone());
        let answer = ask(&fleet(&stand_in), &question());
        match answer {
            Ok(answer) => assert_eq!((answer.text.as_str(), answer.partial), ("Paris", false)),
            // A reset may overtake the bytes before it; then it is said, and nothing is asked again.
            Err(error) => {
                assert!(!script.lingers);
                assert_eq!(error.code(), "UPSTREAM_DIED");
            }
        }
        assert_eq!(stand_in.counts().chats, 1);
    }
}

#[test]
fn idle_connections_that_the_server_closes_are_not_met_by_the_next_call() {
    let stand_in = StandIn::start(Script { keep_alive: Some(Duration::from_millis(1)), ..paris() });
    let fleet = fleet(&stand_in);
    for _ in 0..5 {
        ask(&fleet, &question()).unwrap();
        fleet.main().list_models(&Cancel::new()).unwrap();
    }
}

#[test]
fn calls_wait_for_their_turn_in_order_and_are_told_their_place() {
    let stand_in = StandIn::start(Script { stall: Stall::After(1), ..paris() });
    let fleet = Fleet::new(vec![Settings { queue: 2, ..settings(&stand_in) }]).unwrap();
    fleet.main().list_models(&Cancel::new()).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(&fleet, &question()));
        assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
        let (told, hears) = std::sync::mpsc::sync_channel(64);
        let mut waiting = Vec::new();
        for before in 1..=2 {
            let (fleet, told) = (&fleet, told.clone());
            waiting.push(scope.spawn(move || {
                let mut on = |event: ChatEvent<'_>| {
                    if let ChatEvent::Queued { before } = event {
                        told.send(before).unwrap();
                    }
                };
                fleet.chat(&question(), &Cancel::new(), &mut on)
            }));
            assert_eq!(hears.recv().unwrap(), before);
        }
        assert_eq!(fleet.main().state().load, Load { running: 1, waiting: 2 });
        let full = ask(&fleet, &question()).unwrap_err();
        assert_eq!((full.code(), full.is_retryable()), ("QUEUE_FULL", true));
        assert_eq!(stand_in.counts().started, 1);
        stand_in.release();
        assert_eq!(first.join().unwrap().unwrap().text, "Paris");
        for one in waiting {
            let answer = one.join().unwrap().unwrap();
            assert_eq!(answer.text, "Paris");
            assert!(answer.queued > Duration::ZERO && answer.queued <= answer.total);
        }
        assert_eq!(hears.try_iter().last(), Some(1), "the last one moved up");
    });
    assert_eq!(fleet.main().state().load, Load::default());
}

#[test]
fn a_cancel_or_a_deadline_in_the_line_ends_the_wait_and_asks_nothing() {
    let stand_in = StandIn::start(Script { stall: Stall::After(1), ..paris() });
    let fleet = fleet(&stand_in);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(&fleet, &question()));
        assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
        let cancel = Cancel::new();
        let mut on = |event: ChatEvent<'_>| {
            if matches!(event, ChatEvent::Queued { .. }) {
                cancel.fire(Reason::Requested);
            }
        };
        assert_eq!(fleet.chat(&question(), &cancel, &mut on).unwrap_err().code(), "CANCELLED");
        let soon = ChatRequest { deadline: Some(Duration::from_millis(30)), ..question() };
        let error = ask(&fleet, &soon).unwrap_err();
        assert_eq!(error.code(), "DEADLINE_NO_OUTPUT");
        assert!(error.to_string().contains("0.03 s"), "{error}");
        assert!(error.to_string().contains("waited for its turn"), "{error}");
        assert!(error.next_step(None).contains("concurrency"), "{}", error.next_step(None));
        assert_eq!(stand_in.counts().started, 1);
        stand_in.release();
        first.join().unwrap().unwrap();
    });
}

#[test]
fn silence_in_every_phase_is_broken_by_beats() {
    // The line, the list, the loading, the reading, the writing.
    let stand_in = StandIn::start(Script { stall: Stall::BeforeHead, ..paris() });
    let fleet = fleet(&stand_in);
    let beat = Some(Duration::from_millis(10));
    for stall in [Stall::BeforeHead, Stall::BeforeChatHead, Stall::BeforeFirst, Stall::After(1)] {
        for model in [MODEL, COLD] {
            let stand_in = StandIn::start(Script { stall, ..paris() });
            let fleet = self::fleet(&stand_in);
            let request = ChatRequest { beat, model: Some(model.to_owned()), ..question() };
            let mut beats = 0;
            let mut on = |event: ChatEvent<'_>| {
                beats += usize::from(event == ChatEvent::Waiting);
                if beats == 12 {
                    stand_in.release();
                }
            };
            let answer = fleet.chat(&request, &Cancel::new(), &mut on).unwrap();
            assert_eq!(answer.text, "Paris", "{stall:?} {model}");
            assert!(beats >= 12);
        }
    }
    drop(fleet);
}

#[test]
fn a_cancel_while_a_model_is_loaded_or_a_prompt_is_read_closes_the_connection_at_once() {
    for (stall, load_pace) in
        [(Stall::BeforeChatHead, None), (Stall::BeforeFirst, None), (Stall::None, Some(SOON))]
    {
        let stand_in = StandIn::start(Script { stall, load_pace, ..paris() });
        let fleet = fleet(&stand_in);
        let request = ChatRequest { model: Some(COLD.to_owned()), ..question() };
        let cancel = Cancel::new();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| fleet.chat(&request, &cancel, &mut |_| ()));
            assert!(stand_in.wait_for(|counts| counts.started == 1, SOON));
            cancel.fire(Reason::ClientLeft);
            assert_eq!(call.join().unwrap().unwrap_err().code(), "CANCELLED");
        });
        assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON), "{stall:?}");
        assert!(begun.elapsed() < SOON);
    }
}

#[test]
fn a_deadline_while_the_model_thinks_says_that_it_thought() {
    let stand_in = StandIn::start(Script {
        deltas: vec![Delta::Reasoning("hm".to_owned()), Delta::Content("Yes".to_owned())],
        stall: Stall::After(1),
        ..Script::default()
    });
    let request = ChatRequest { deadline: Some(Duration::from_millis(60)), ..question() };
    let error = ask(&fleet(&stand_in), &request).unwrap_err();
    assert_eq!(error.code(), "DEADLINE_NO_OUTPUT");
    assert!(error.to_string().contains("still thinking"), "{error}");
    assert!(error.next_step(None).contains("timeout_s"));
    assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON));
}

#[test]
fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let thief = StandIn::start(paris());
    let to = format!("{}/v1/chat/completions", thief.url());
    for script in [
        Script { chat_fault: Fault::Redirect(to.clone()), ..paris() },
        Script { list_fault: Fault::Redirect(to.clone()), ..paris() },
    ] {
        let stand_in = StandIn::start(Script { token: Some("sk-lm-a".to_owned()), ..script });
        let mut settings = settings(&stand_in);
        settings.api_token = Some("sk-lm-a".to_owned());
        let fleet = Fleet::new(vec![settings]).unwrap();
        let request = ChatRequest { model: Some(MODEL.to_owned()), ..question() };
        let outcome = ask(&fleet, &request);
        assert_eq!(stand_in.last_token().as_deref(), Some("sk-lm-a"));
        if let Err(error) = outcome {
            assert_eq!(error.code(), "UPSTREAM_ERROR");
            assert!(error.to_string().contains("HTTP 307"), "{error}");
        }
    }
    assert_eq!(thief.counts().connections, 0);
}
