//! Which model a call means that names none.

use crate::tools::arguments::Unusable;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Model, ModelList};

/// The model that a call names, else the configured one; without either the upstream's list
/// decides at call time, because models come and go.
pub(super) fn model(named: Option<&str>, toolbox: &Toolbox) -> Result<Option<String>, Unusable> {
    if let Some(named) = named.map(str::trim).filter(|named| !named.is_empty()) {
        return match named.strip_prefix("local://") {
            // Clients mistake a resource for a model.
            Some(_) => Err(Unusable::new(
                "$.model",
                "must be a model's id as list_models shows it, but is a resource's address",
            )),
            None => Ok(Some(named.to_owned())),
        };
    }
    Ok(toolbox.defaults().model.clone())
}

/// What a call without a model would be answered by, from this list.
pub(super) fn default_of<'a>(list: &'a ModelList, toolbox: &'a Toolbox) -> Option<&'a str> {
    match &toolbox.defaults().model {
        Some(model) => Some(model),
        None => list.preferred().map(Model::ready_name),
    }
}
