//! What all upstreams have right now.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cancel::Cancel;
use crate::tools::outcome::{Failure, error_data};
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Failed, Listed, Model, ModelList, UpstreamError};

/// The lists that could be had, and why the others could not.
#[derive(Debug)]
pub(super) struct Survey {
    /// With the name of the upstream, the default first.
    pub(super) lists: Vec<(String, Arc<ModelList>)>,
    pub(super) failures: Vec<Failure>,
    /// The upstream that alone was asked.
    pub(super) named: Option<String>,
}

impl Survey {
    /// Asks all upstreams, or the one that is named. Errors: no list could be had.
    pub(super) fn take(
        toolbox: &Toolbox,
        upstream: Option<&str>,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        let fleet = toolbox.fleet();
        let Some(name) = upstream else { return Self::of(fleet.lists(cancel)) };
        let upstream = Arc::clone(fleet.named(Some(name))?);
        let models = upstream.list_models(cancel);
        let survey = Self::of(vec![Listed { upstream, models }])?;
        Ok(Self { named: Some(name.to_owned()), ..survey })
    }

    /// Sorts what came. Errors: no list did; the failure of the first.
    pub(super) fn of(lists: Vec<Listed>) -> Result<Self, Failure> {
        let mut survey = Self { lists: Vec::new(), failures: Vec::new(), named: None };
        for Listed { upstream, models } in lists {
            match models {
                Ok(list) => survey.lists.push((upstream.name().to_owned(), list)),
                Err(error) => survey.failures.push(Failed::at(&upstream, error).into()),
            }
        }
        if survey.lists.is_empty() && !survey.failures.is_empty() {
            return Err(survey.failures.remove(0));
        }
        Ok(survey)
    }

    /// Every model with the name of its upstream.
    pub(super) fn models(&self) -> impl Iterator<Item = (&str, &Model)> {
        self.lists
            .iter()
            .flat_map(|(name, list)| list.models.iter().map(move |model| (name.as_str(), model)))
    }

    /// The model that a name means, at the first upstream that has it.
    pub(super) fn find(&self, name: &str) -> Option<(&str, &Model)> {
        self.lists.iter().find_map(|(upstream, list)| Some((upstream.as_str(), list.find(name)?)))
    }

    /// The failure of a name that means no model anywhere.
    pub(super) fn unknown(&self, name: &str) -> Failure {
        let near = self.lists.iter().flat_map(|(_, list)| list.near(name)).take(3).collect();
        let available = self.models().map(|(_, model)| model.id.clone()).collect();
        let error = UpstreamError::ModelNotFound { model: name.to_owned(), near, available };
        Failed::nowhere(error).into()
    }

    /// The upstreams whose list could not be had, as data.
    pub(super) fn unavailable(&self) -> Vec<Value> {
        let told = |failure| error_data(failure).get("error").cloned().unwrap_or(json!({}));
        self.failures.iter().map(told).collect()
    }
}
