//! What a failure is called and what to do next: a sentence for each.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::upstream::error::{Stage, UpstreamError, plain};
use crate::upstream::limits::Limit;
use crate::upstream::models::Kind;

impl UpstreamError {
    /// What to do next, at a model server of this kind; for LM Studio where the kind is not known.
    #[must_use]
    pub fn next_step(&self, kind: Option<Kind>) -> Cow<'static, str> {
        let own = Advice::of(kind);
        Cow::Borrowed(match self {
            Self::Unreachable { url, cause } => unsecured(url, cause).unwrap_or(own.reach),
            Self::Timeout { limit: Limit::Connect, .. } => own.reach,
            Self::Auth { token_sent: false } => TOKEN,
            Self::Auth { token_sent: true } => OTHER_TOKEN,
            Self::NoModelLoaded { .. } => own.load,
            Self::ModelNotFound { near, .. } if !near.is_empty() => {
                return Cow::Owned(format!("Did you mean {}?", alternatives(near)));
            }
            Self::ModelNotFound { .. } => "Call list_models and use one of its ids.",
            Self::ModelLoadFailed { .. } => {
                "Unload another model or choose a smaller one; the model server's log says why \
                 this one did not load."
            }
            Self::ContextOverflow { .. } | Self::PromptTooLong { .. } => own.window,
            Self::BadRequest { .. } => "Correct the arguments that the model server names.",
            Self::ModelCrashed { .. } => {
                "Load the model again; if it crashes again, choose a smaller one or a shorter \
                 context."
            }
            Self::EmptyOutput { thought_only: true, .. }
            | Self::Deadline { during: Stage::Thinking, .. } => {
                "Raise max_tokens (or timeout_s), so that the model can finish thinking and answer, or \
                 lower reasoning_effort."
            }
            Self::EmptyOutput { thought_only: false, .. } => {
                "The prompt probably fills the context window: send less text, or load the model \
                 with a larger context length."
            }
            Self::Timeout { limit: Limit::Prefill, .. } => {
                "A large model or a long prompt needs longer before its first word: send less \
                 text, choose a smaller model, or start this server with a longer --prefill-timeout-s."
            }
            Self::Timeout { limit: Limit::Idle, .. } => {
                "The model stopped in the middle: look at the model server, and try again or start \
                 this server with a longer --idle-timeout-s."
            }
            Self::Deadline { during: Stage::Waiting, .. } => {
                "Call again when the calls before it are done, or raise timeout_s; where the model \
                 server answers several at once, raise concurrency under its [[upstream]]."
            }
            Self::Timeout { limit: Limit::Call, .. } | Self::Deadline { .. } => {
                "Ask for less, or raise timeout_s or --call-timeout-s."
            }
            Self::Died { .. } => {
                "See whether the model server still runs and the model is still loaded, then try \
                 again."
            }
            Self::QueueFull { .. } => "Wait until a running call is done, then call again.",
            Self::NotSupported { .. } => {
                "Use a model server or a model that can; server_status shows which servers there are."
            }
            Self::NoModel { embeds: false } => own.get,
            Self::NoModel { embeds: true } => own.embed,
            Self::UnknownUpstream { .. } => "Use one of these names, or leave upstream out.",
            Self::Cancelled => "Call again when you want the answer after all.",
            Self::Answered { .. } => {
                "Check that LM_STUDIO_URL (or the url of --upstream) is the address of LM Studio or \
                 of an OpenAI-compatible server, and look at its log."
            }
            Self::ReplyTooLarge { .. } => "Ask for less: lower max_tokens.",
        })
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, cause } => {
                write!(f, "no model server answers at {url}: {}", plain(cause))
            }
            Self::Auth { token_sent: false } => f.write_str("the model server wants an API token"),
            Self::Auth { token_sent: true } => {
                f.write_str("the model server does not accept our API token")
            }
            Self::NoModelLoaded { said } => say(f, "no model is loaded", said),
            Self::ModelNotFound { model, .. } => {
                write!(f, "the model server has no model {model:?}")
            }
            Self::ModelLoadFailed { said } => say(f, "the model could not be loaded", said),
            Self::ContextOverflow { said } => {
                say(f, "the prompt does not fit into the model's context window", said)
            }
            Self::BadRequest { said } => say(f, "the model server refused the request", said),
            Self::ModelCrashed { said, .. } => say(f, "the model crashed", said),
            Self::EmptyOutput { thought_only: true, .. } => {
                f.write_str("the model only thought and gave no answer")
            }
            Self::EmptyOutput { thought_only: false, prompt_tokens } => {
                f.write_str("the model server ended the answer without any text")?;
                match prompt_tokens {
                    Some(tokens) => write!(f, ", after it had read {tokens} tokens"),
                    None => Ok(()),
                }
            }
            Self::Timeout { limit, length, .. } => timeout(f, *limit, seconds(*length)),
            Self::Died { cause, partial } if partial.is_empty() => {
                write!(f, "the model server hung up before it answered: {cause}")
            }
            Self::Died { cause, .. } => {
                write!(f, "the model server hung up in the middle of its answer: {cause}")
            }
            Self::PromptTooLong { .. }
            | Self::Deadline { .. }
            | Self::QueueFull { .. }
            | Self::NotSupported { .. }
            | Self::NoModel { .. }
            | Self::UnknownUpstream { .. }
            | Self::Cancelled => ours(self, f),
            Self::Answered { status: 200, said, .. } => {
                say(f, "the model server answered with an error", said)
            }
            Self::Answered { status, said, .. } => {
                say(f, &format!("the model server answered with HTTP {status}"), said)
            }
            Self::ReplyTooLarge { limit } => {
                write!(f, "the answer is longer than {limit} bytes (reply_bytes_max)")
            }
        }
    }
}

/// What to do where something answers, but the handshake of TLS fails.
fn unsecured(url: &str, cause: &io::Error) -> Option<&'static str> {
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
    if !url.starts_with("https:") || !kinds.contains(&cause.kind()) {
        return None;
    }
    Some(if cause.to_string().contains("certificate") { CERTIFICATE } else { NO_TLS })
}

/// What we found out ourselves, before or instead of asking.
fn ours(error: &UpstreamError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use UpstreamError as Known;
    match error {
        Known::PromptTooLong { tokens, exact, window } => {
            let about = if *exact { "" } else { "about " };
            write!(
                f,
                "the prompt has {about}{tokens} tokens, but the model was loaded with a \
                     context window of {window}"
            )
        }
        Known::Deadline { length, during } => {
            let had = match during {
                Stage::Waiting => "the call still waited for its turn",
                Stage::Reading => "no word had come",
                Stage::Thinking => "the model was still thinking",
            };
            write!(f, "{had} when the {} s of this call were over", seconds(*length))
        }
        Known::QueueFull { waiting } => {
            write!(f, "the model is busy, and as many calls wait for it as may (queue: {waiting})")
        }
        Known::NotSupported { what, said } => {
            write!(f, "the model server cannot do this: {what} ({said})")
        }
        Known::NoModel { embeds } => {
            let which = if *embeds { "embedding model" } else { "model for this" };
            write!(f, "the model server has no {which}")
        }
        Known::UnknownUpstream { name, known } => {
            write!(f, "no model server is called {name:?}; there are {}", known.join(", "))
        }
        _ => f.write_str("the call was cancelled"),
    }
}

fn timeout(f: &mut fmt::Formatter<'_>, limit: Limit, seconds: f64) -> fmt::Result {
    match limit {
        Limit::Connect => write!(
            f,
            "the model server's machine did not answer within {seconds} s (connect timeout)"
        ),
        Limit::Prefill => {
            write!(f, "the model gave no first word within {seconds} s (prefill timeout)")
        }
        Limit::Idle => write!(f, "the model fell silent for {seconds} s (idle timeout)"),
        Limit::Call => write!(f, "the call was not done after {seconds} s (call timeout)"),
    }
}

/// A limit as somebody set it: what is left of one after a part of it is rounded up.
fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 100.0).round() / 100.0
}

fn say(f: &mut fmt::Formatter<'_>, what: &str, said: &str) -> fmt::Result {
    if said.is_empty() { f.write_str(what) } else { write!(f, "{what}; it said: {said}") }
}

fn alternatives(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(" or ")
}

/// What to do at one kind of model server.
struct Advice {
    /// It cannot be reached.
    reach: &'static str,
    /// No model is in memory.
    load: &'static str,
    /// It has no model at all.
    get: &'static str,
    /// It has none that makes vectors.
    embed: &'static str,
    /// A prompt is longer than the window.
    window: &'static str,
}

impl Advice {
    fn of(kind: Option<Kind>) -> &'static Self {
        match kind {
            None | Some(Kind::LmStudio | Kind::LmStudio03) => &LM_STUDIO,
            Some(Kind::Ollama) => &OLLAMA,
            Some(Kind::LlamaCpp | Kind::LlamaRouter) => &LLAMA_CPP,
            Some(Kind::Vllm) => &VLLM,
            Some(Kind::OpenAiCompatible) => &OTHER,
        }
    }
}

const CERTIFICATE: &str = "Name the authority that signed its certificate by ca_file under its [[upstream]] \
                           in the configuration file, and see that the certificate is for the name in \
                           its url.";

const NO_TLS: &str = "See whether it speaks https there at all: LM Studio, Ollama and llama-server speak \
                      http unless something before them does otherwise, so begin its url with http://.";

const TOKEN: &str = "Give it to this server: as LM_API_TOKEN where LM_STUDIO_URL names the model server, \
                     else by token_file under its [[upstream]]. LM Studio makes one in its Developer \
                     tab; llama-server's and vLLM's is the one of their --api-key.";

const OTHER_TOKEN: &str = "Check LM_API_TOKEN, or token_file under its [[upstream]]: copy the token again, \
                           in LM Studio from its Developer tab, with the permissions this server \
                           needs, else from the model server's --api-key.";

const LM_STUDIO: Advice = Advice {
    reach: "Start LM Studio and its server (Developer tab, or `lms server start`). Where LM Studio \
            runs on another machine, set LM_STUDIO_URL=http://<that machine>:1234 here (or the url \
            of --upstream) and switch on \"Serve on Local Network\" there.",
    load: "Load one with load_model, in LM Studio or by `lms load`, or switch on Just-in-Time model \
           loading in its server settings.",
    get: "Download a language model in LM Studio and load it (`lms get`, `lms load`).",
    embed: "Download an embedding model in LM Studio (`lms get nomic-embed-text`).",
    window: "Send less text or a lower max_tokens, or load the model with a larger context length in \
             LM Studio.",
};

const OTHER: Advice = Advice {
    reach: "Start the model server. Where it runs on another machine, its url here has to name that \
            machine, and it has to serve the network there.",
    load: "Load one with load_model, or there.",
    get: "Let the model server serve a language model.",
    embed: "Let the model server serve an embedding model, or name one of its models that can embed.",
    window: "Send less text or a lower max_tokens, or give the model a larger context window there.",
};

const OLLAMA: Advice = Advice {
    reach: "Start Ollama (`ollama serve`). Where it runs on another machine, its url here has to name \
            that machine, and OLLAMA_HOST=0.0.0.0 there lets it serve the network.",
    get: "Download a language model on Ollama's machine (`ollama pull <model>`).",
    embed: "Download an embedding model on Ollama's machine (`ollama pull nomic-embed-text`).",
    window: "Send less text or a lower max_tokens, or start Ollama with a larger window \
             (OLLAMA_CONTEXT_LENGTH).",
    ..OTHER
};

const LLAMA_CPP: Advice = Advice {
    reach: "Start llama-server. Where it runs on another machine, its url here has to name that \
            machine, and `--host 0.0.0.0` there lets it serve the network.",
    get: "Start llama-server with a language model (`-m <file>`).",
    embed: "Start llama-server with an embedding model and --embeddings, or name its model, where that \
            can embed.",
    window: "Send less text or a lower max_tokens, or start llama-server with a larger --ctx-size.",
    ..OTHER
};

const VLLM: Advice = Advice {
    window: "Send less text or a lower max_tokens, or start vLLM with a larger --max-model-len.",
    ..OTHER
};
