//! Who wants to hear of which change.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::jsonrpc::{RequestId, notification};
use super::service::Offer;
use crate::worker::lock;

/// Something that clients may have cached has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The list of tools.
    ToolsList,
    /// The list of prompts.
    PromptsList,
    /// The list of resources.
    ResourcesList,
    /// The contents of the resource with this URI.
    Resource(String),
}

impl Change {
    /// The notification that says so. `subscription`: the id of the `subscriptions/listen` that it
    /// answers (2026-07-28, subscriptions), with its JSON type.
    #[must_use]
    pub fn notification(&self, subscription: Option<&RequestId>) -> String {
        let mut params = Map::new();
        if let Self::Resource(uri) = self {
            params.insert("uri".into(), uri.as_str().into());
        }
        if let Some(id) = subscription {
            params.insert("_meta".into(), json!({ SUBSCRIPTION_ID: id }));
        }
        let method = match self {
            Self::ToolsList => "notifications/tools/list_changed",
            Self::PromptsList => "notifications/prompts/list_changed",
            Self::ResourcesList => "notifications/resources/list_changed",
            Self::Resource(_) => "notifications/resources/updated",
        };
        notification(method, &Value::Object(params))
    }
}

/// Which changes somebody asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// [`Change::ToolsList`].
    pub tools: bool,
    /// [`Change::PromptsList`].
    pub prompts: bool,
    /// [`Change::ResourcesList`].
    pub resources: bool,
    /// [`Change::Resource`] with one of these URIs.
    pub uris: Vec<String>,
}

impl Filter {
    /// Every list: what a legacy client hears without asking.
    #[must_use]
    pub fn lists() -> Self {
        Self { tools: true, prompts: true, resources: true, uris: Vec::new() }
    }

    /// Reads `params.notifications` of `subscriptions/listen`, without what is not offered.
    /// Errors: says what has the wrong type, or which limit is passed.
    pub(super) fn read(wanted: &Value, offer: Offer) -> Result<Self, String> {
        let Some(wanted) = wanted.as_object() else {
            return Err("params.notifications is not an object".to_owned());
        };
        let flag = |name: &str| match wanted.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(wanted)) => Ok(*wanted),
            Some(_) => Err(format!("params.notifications.{name} is not a boolean")),
        };
        let uris: Vec<String> = match wanted.get("resourceSubscriptions") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(uris)) => uris
                .iter()
                .map(|uri| uri.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or(
                    "params.notifications.resourceSubscriptions holds something that is no string",
                )?,
            Some(_) => {
                return Err("params.notifications.resourceSubscriptions is not an array".to_owned());
            }
        };
        if uris.len() > SUBSCRIPTIONS_MAX {
            return Err(format!("the limit of {SUBSCRIPTIONS_MAX} subscriptions is passed"));
        }
        Ok(Self {
            tools: flag("toolsListChanged")? && offer.list_changed,
            prompts: flag("promptsListChanged")? && offer.list_changed && offer.prompts,
            resources: flag("resourcesListChanged")?
                && (offer.list_changed || offer.resources_changed)
                && offer.resources,
            uris: if offer.subscribe { uris } else { Vec::new() },
        })
    }

    /// As `notifications/subscriptions/acknowledged` repeats it.
    fn accepted(&self) -> Value {
        let mut accepted = Map::new();
        for (name, wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if wanted {
                accepted.insert(name.into(), true.into());
            }
        }
        if !self.uris.is_empty() {
            accepted.insert("resourceSubscriptions".into(), self.uris.as_slice().into());
        }
        Value::Object(accepted)
    }

    /// `notifications/subscriptions/acknowledged`, the first event of a listening stream.
    #[must_use]
    pub fn acknowledgement(&self, id: &RequestId) -> String {
        let params = json!({ "_meta": { SUBSCRIPTION_ID: id }, "notifications": self.accepted() });
        notification("notifications/subscriptions/acknowledged", &params)
    }

    fn wants(&self, change: &Change) -> bool {
        match change {
            Change::ToolsList => self.tools,
            Change::PromptsList => self.prompts,
            Change::ResourcesList => self.resources,
            Change::Resource(uri) => self.uris.contains(uri),
        }
    }
}

type Tell = Arc<dyn Fn(&Change) + Send + Sync>;

/// Tells each change to those who want it.
#[derive(Default)]
pub struct Bulletin {
    readers: Mutex<HashMap<u64, (Filter, Tell)>>,
    numbers: AtomicU64,
}

impl Bulletin {
    /// Has `tell` called for every change that passes the filter, until the reader is dropped.
    /// `tell` must not block.
    #[must_use]
    pub fn read(
        self: &Arc<Self>,
        filter: Filter,
        tell: impl Fn(&Change) + Send + Sync + 'static,
    ) -> Reader {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        lock(&self.readers).insert(number, (filter, Arc::new(tell)));
        Reader { bulletin: Arc::clone(self), number }
    }

    /// Tells everybody who wants to know.
    pub fn announce(&self, change: &Change) {
        let wanted =
            |(filter, tell): &(Filter, Tell)| filter.wants(change).then(|| Arc::clone(tell));
        // Called without the lock: who is told may stop reading.
        let told: Vec<Tell> = lock(&self.readers).values().filter_map(wanted).collect();
        for tell in told {
            tell(change);
        }
    }

    /// Whether anybody wants to know of new lists of resources.
    #[must_use]
    pub fn has_readers(&self) -> bool {
        lock(&self.readers).values().any(|(filter, _)| filter.resources)
    }

    /// Whether anybody wants to know of a resource.
    #[must_use]
    pub fn is_read(&self) -> bool {
        lock(&self.readers).values().any(|(filter, _)| !filter.uris.is_empty())
    }
}

impl fmt::Debug for Bulletin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulletin").field("readers", &lock(&self.readers).len()).finish()
    }
}

/// One who reads the bulletin.
#[derive(Debug)]
pub struct Reader {
    bulletin: Arc<Bulletin>,
    number: u64,
}

impl Reader {
    /// Begins or stops to want a resource. Errors: too many are wanted already.
    pub fn want(&self, uri: &str, wanted: bool) -> Result<(), String> {
        let mut readers = lock(&self.bulletin.readers);
        let Some((filter, _)) = readers.get_mut(&self.number) else { return Ok(()) };
        filter.uris.retain(|known| known != uri);
        if wanted {
            if filter.uris.len() >= SUBSCRIPTIONS_MAX {
                return Err(format!("the limit of {SUBSCRIPTIONS_MAX} subscriptions is reached"));
            }
            filter.uris.push(uri.to_owned());
        }
        Ok(())
    }

    /// Whether it wants any resource.
    #[must_use]
    pub fn wants_resources(&self) -> bool {
        let readers = lock(&self.bulletin.readers);
        readers.get(&self.number).is_some_and(|(filter, _)| !filter.uris.is_empty())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.bulletin.readers).remove(&self.number);
    }
}

pub(super) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Resources that one reader may be subscribed to.
const SUBSCRIPTIONS_MAX: usize = 64;
