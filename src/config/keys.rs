//! Every key of the configuration file, in one list.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One line of text.
    Text,
    /// A file or folder; a relative one is meant from the folder of the configuration file.
    Path,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of texts, or one text, comma separated.
    List,
}

impl Kind {
    /// As a person calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text in quotes",
            Self::Path => "a path in quotes",
            Self::Number => "a whole number",
            Self::Flag => "true or false",
            Self::List => "a list of texts, as in [\"one\", \"two\"]",
        }
    }
}

/// The keys that stand in `[[upstream]]` begin with this.
pub(super) const UPSTREAM: &str = "upstream";

/// Every key with what it takes.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("transport", Kind::List),
    ("host", Kind::Text),
    ("port", Kind::Number),
    ("https_port", Kind::Number),
    ("http_port", Kind::Number),
    ("cert", Kind::Path),
    ("key", Kind::Path),
    ("san", Kind::List),
    ("state_dir", Kind::Path),
    ("lm_studio_url", Kind::Text),
    ("lm_studio_token_file", Kind::Path),
    ("model", Kind::Text),
    ("connect_timeout_s", Kind::Number),
    ("prefill_timeout_s", Kind::Number),
    ("idle_timeout_s", Kind::Number),
    ("call_timeout_s", Kind::Number),
    ("token_file", Kind::Path),
    ("home_open", Kind::Flag),
    ("public_url", Kind::List),
    ("oauth", Kind::Text),
    ("oauth_access_s", Kind::Number),
    ("oauth_grace_s", Kind::Number),
    ("trusted_proxy", Kind::List),
    ("allow_host", Kind::List),
    ("allow_origin", Kind::List),
    ("log", Kind::Text),
    ("log_file", Kind::Path),
    ("conversations", Kind::Text),
    ("prompts_dir", Kind::Path),
    ("tools.profile", Kind::Text),
    ("tools.enable", Kind::List),
    ("tools.disable", Kind::List),
    ("tools.aliases", Kind::List),
    ("generation.default_max_tokens", Kind::Number),
    ("generation.default_timeout_s", Kind::Number),
    ("generation.deadline_margin_s", Kind::Number),
    ("generation.include_reasoning", Kind::Flag),
    ("upstream.name", Kind::Text),
    ("upstream.url", Kind::Text),
    ("upstream.kind", Kind::Text),
    ("upstream.token_file", Kind::Path),
    ("upstream.token_env", Kind::Text),
    ("upstream.ca_file", Kind::Path),
    ("upstream.default_model", Kind::Text),
    ("upstream.concurrency", Kind::Number),
    ("upstream.queue", Kind::Number),
    ("upstream.connect_timeout_s", Kind::Number),
    ("upstream.prefill_timeout_s", Kind::Number),
    ("upstream.idle_timeout_s", Kind::Number),
    ("upstream.call_timeout_s", Kind::Number),
];

/// Every key of the configuration file by its path, as in `tools.profile`; those that begin with
/// `upstream.` stand in `[[upstream]]`.
pub fn file_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}
