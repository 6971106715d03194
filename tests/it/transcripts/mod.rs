//! Conversations in files, one for each trap of the protocol that a server can fall into: the
//! places where clients and servers are known to misunderstand each other.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail here")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// JSON against a pattern.
mod pattern;
/// Against what it is played.
mod player;
/// The file's format.
mod script;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts")
}

/// Plays a file; a failure names the file, the line and the step.
fn play(name: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    let mut player = player::Player::default();
    for step in script::read(&text) {
        // What went wrong is said by then.
        if catch_unwind(AssertUnwindSafe(|| player.step(&step))).is_err() {
            panic!("tests/data/transcripts/{name}.txt:{}: {}", step.line, step.text);
        }
    }
}

/// A test for each file, and the list of them.
macro_rules! transcripts {
    ($($test:ident: $file:literal,)*) => {
        const FILES: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $test() {
                play($file);
            }
        )*
    };
}

transcripts! {
    trap_01_two_meanings_of_404: "01-two-meanings-of-404",
    trap_02_initialize_in_both_eras: "02-initialize-in-both-eras",
    trap_03_routing_by_the_body: "03-routing-by-the-body",
    trap_04_batch_smuggling: "04-batch-smuggling",
    trap_05_empty_results: "05-empty-results",
    trap_06_result_type: "06-result-type",
    trap_07_ids_of_errors: "07-ids-of-errors",
    trap_09_subscription_ids: "09-subscription-ids",
    trap_10_streams_that_never_end: "10-streams-that-never-end",
    trap_11_buffered_streams: "11-buffered-streams",
    trap_12_keep_alive: "12-keep-alive",
    trap_13_long_calls: "13-long-calls",
    trap_14_endpoint_event: "14-endpoint-event",
    trap_15_reconnect_without_initialize: "15-reconnect-without-initialize",
    trap_16_mcp_remote: "16-mcp-remote",
    trap_17_post_to_sse: "17-post-to-sse",
    trap_18_words_in_errors: "18-words-in-errors",
    trap_19_202_for_notifications: "19-202-for-notifications",
    trap_20_session_header: "20-session-header",
    trap_21_priming_events: "21-priming-events",
    trap_22_what_a_disconnect_means: "22-what-a-disconnect-means",
    trap_23_names_of_drafts: "23-names-of-drafts",
    trap_24_case_and_white_space: "24-case-and-white-space",
    trap_25_strict_base64: "25-strict-base64",
    trap_26_arguments_left_out: "26-arguments-left-out",
    trap_27_arguments_that_cannot_be_used: "27-arguments-that-cannot-be-used",
    trap_28_schemas_as_they_are: "28-schemas-as-they-are",
    trap_29_numbers: "29-numbers",
    trap_36_origin_on_every_path: "36-origin-on-every-path",
    trap_37_ipv6_loopback: "37-ipv6-loopback",
    trap_38_noise_on_stdout: "38-noise-on-stdout",
    trap_39_unknown_first_message: "39-unknown-first-message",
    trap_40_what_is_advertised: "40-what-is-advertised",
    trap_42_caching_hints: "42-caching-hints",
    trap_43_plain_on_the_https_port: "43-plain-on-the-https-port",
    trap_44_details_of_http: "44-details-of-http",
}

/// Traps without a transcript, and why.
const LEFT_OUT: &[(u8, &str)] = &[
    (8, "no tool of this server needs a capability; the fixtures of the conformance suite do"),
    (30, "metadata of OAuth, which this server does not have yet"),
    (31, "metadata of OAuth, which this server does not have yet"),
    (32, "redirects of OAuth, which this server does not have yet"),
    (33, "registration of OAuth, which this server does not have yet"),
    (34, "paths of OAuth, which this server does not have yet"),
    (35, "challenges of OAuth, which this server does not have yet"),
    (41, "advice on what to build, which no message shows"),
];

/// The last trap's number.
const TRAPS: u8 = 44;

#[test]
fn every_file_is_played_and_every_trap_has_one_or_a_reason() {
    let there: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".txt").map(str::to_owned))
        .collect();
    let played: BTreeSet<String> = FILES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(there, played);
    let mut traps: Vec<u8> =
        FILES.iter().map(|name| name.split('-').next().unwrap().parse().unwrap()).collect();
    traps.extend(LEFT_OUT.iter().map(|(trap, _)| trap));
    traps.sort_unstable();
    assert_eq!(traps, (1..=TRAPS).collect::<Vec<u8>>());
}
