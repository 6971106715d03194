//! The shapes that only Ollama has: its models on disk (`/api/tags`) and in memory (`/api/ps`).
//! Pure: bytes in, values out.

use serde::Deserialize;

use crate::upstream::models::{Instance, Kind, Model, ModelList, ModelState, ModelType};
use crate::upstream::shapes::{Whole, whole};

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

/// An entry of either list.
#[derive(Deserialize)]
struct Tag {
    /// Only these shapes have it.
    name: String,
    size: Option<Whole>,
    details: Option<Details>,
    /// Of newer versions, in the list of what is in memory.
    context_length: Option<Whole>,
}

#[derive(Deserialize)]
struct Details {
    format: Option<String>,
    family: Option<String>,
    parameter_size: Option<String>,
    quantization_level: Option<String>,
}

/// Reads what is on disk; `None` when the body has another shape.
pub(super) fn read_tags(body: &[u8]) -> Option<ModelList> {
    let tags: Tags = serde_json::from_slice(body).ok()?;
    let models = tags.models.into_iter().map(Tag::into_model).collect();
    Some(ModelList { kind: Kind::Ollama, models })
}

/// Marks what is in memory.
pub(super) fn mark_loaded(list: &mut ModelList, body: &[u8]) {
    let Ok(running) = serde_json::from_slice::<Tags>(body) else { return };
    for tag in running.models {
        if let Some(model) = list.models.iter_mut().find(|model| model.id == tag.name) {
            model.state = ModelState::Loaded;
            model.context_length = whole(tag.context_length);
            model.instances = vec![Instance {
                id: tag.name,
                context_length: model.context_length,
                parallel: None,
            }];
        }
    }
}

impl Tag {
    fn into_model(self) -> Model {
        let model_type = ModelType::by_name(&self.name);
        let named = Model::named(self.name, model_type, ModelState::NotLoaded);
        let Some(details) = self.details else {
            return Model { size_bytes: whole(self.size), ..named };
        };
        Model {
            size_bytes: whole(self.size),
            format: details.format,
            architecture: details.family,
            parameters: details.parameter_size,
            quantization: details.quantization_level,
            ..named
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_marked_in_the_list_of_what_is_there() {
        let tags = r#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest",
            "size":2019393189,"digest":"a","details":{"format":"gguf","family":"llama",
            "parameter_size":"3.2B","quantization_level":"Q4_K_M"}},
            {"name":"nomic-embed-text:latest"}]}"#;
        let running = r#"{"models":[{"name":"llama3.2:latest","expires_at":"2026-01-01T00:00:00Z",
            "size_vram":1,"context_length":4096},{"name":"gone"}]}"#;
        let mut list = read_tags(tags.as_bytes()).unwrap();
        mark_loaded(&mut list, running.as_bytes());
        let [llama, nomic] = list.models.as_slice() else { panic!("two models") };
        assert_eq!((llama.state, llama.context_length), (ModelState::Loaded, Some(4096)));
        assert_eq!(
            (llama.parameters.as_deref(), llama.size_bytes),
            (Some("3.2B"), Some(2_019_393_189))
        );
        assert_eq!((nomic.state, nomic.model_type), (ModelState::NotLoaded, ModelType::Embedding));
        assert_eq!(list.find("llama3.2").map(|model| model.id.as_str()), Some("llama3.2:latest"));
        mark_loaded(&mut list, b"<html>");
        assert!(read_tags(br#"{"error":"Unexpected endpoint"}"#).is_none());
    }
}
