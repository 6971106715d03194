//! Which model a call means that names none.

use crate::cancel::Cancel;
use crate::tools::arguments::Unusable;
use crate::tools::outcome::Failure;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Model, ModelList};

/// The model of a call: the named one, else the configured one, else what the upstream's list
/// suggests, asked at call time because models come and go.
pub(super) fn model(
    named: Option<&str>,
    toolbox: &Toolbox,
    cancel: &Cancel,
) -> Result<String, Failure> {
    if let Some(named) = named.map(str::trim).filter(|named| !named.is_empty()) {
        return match named.strip_prefix("local://") {
            // Clients mistake a resource for a model.
            Some(_) => Err(Unusable::new(
                "$.model",
                "must be a model's id as list_models shows it, but is a resource's address",
            )
            .into()),
            None => Ok(named.to_owned()),
        };
    }
    if let Some(model) = &toolbox.defaults().model {
        return Ok(model.clone());
    }
    let list = toolbox.upstream().list_models(cancel)?;
    list.preferred().map(|model| model.ready_name().to_owned()).ok_or(Failure::NoModel)
}

/// What [`model`] would choose from this list.
pub(super) fn default_of<'a>(list: &'a ModelList, toolbox: &'a Toolbox) -> Option<&'a str> {
    match &toolbox.defaults().model {
        Some(model) => Some(model),
        None => list.preferred().map(Model::ready_name),
    }
}
