//! The images of a call: data URLs, or base64 with a type, checked before a model sees them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::tools::arguments::{Arguments, Unusable, wrong};

/// The images as data URLs. Errors: too many, too large, not base64, or not of a known type.
pub(super) fn read(arguments: &Arguments<'_>) -> Result<Vec<String>, Unusable> {
    let entries = arguments.list("images")?.unwrap_or_default();
    if entries.len() > IMAGES_MAX {
        let problem = format!("must have at most {IMAGES_MAX} entries");
        return Err(Unusable::new(arguments.path_of("images"), problem));
    }
    let mut images = Vec::with_capacity(entries.len());
    for (entry, path) in entries {
        images.push(match entry {
            serde_json::Value::String(url) => {
                let parts = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
                let parts =
                    parts.and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data)));
                let Some((mime, data)) = parts else {
                    let problem =
                        "must be a data URL (data:image/png;base64,…); nothing is fetched";
                    return Err(Unusable::new(path, problem));
                };
                check(mime, data, &path)?;
                url.clone()
            }
            serde_json::Value::Object(_) => {
                let part = Arguments::object(entry, path.clone())?;
                let (mime, data) = (part.needed("mimeType")?, part.needed("data")?);
                check(mime, data, &path)?;
                format!("data:{mime};base64,{data}")
            }
            other => return Err(wrong(path, "a data URL or an object", other)),
        });
    }
    Ok(images)
}

fn check(mime: &str, data: &str, path: &str) -> Result<(), Unusable> {
    let refuse = |problem: String| Err(Unusable::new(path, problem));
    let Some((_, begins)) = TYPES.iter().find(|(known, _)| *known == mime) else {
        let known: Vec<_> = TYPES.iter().map(|(known, _)| *known).collect();
        return refuse(format!("must be one of {}, but is {mime:?}", known.join(", ")));
    };
    if data.len() / 4 * 3 > IMAGE_BYTES_MAX {
        return refuse(format!("must be at most {IMAGE_BYTES_MAX} bytes large"));
    }
    let Ok(bytes) = STANDARD.decode(data) else {
        return refuse("must hold base64 without line breaks".to_owned());
    };
    if !bytes.starts_with(begins) {
        return refuse(format!("must be an image of the type that it names, {mime}"));
    }
    Ok(())
}

/// As many as the body limit holds of photographs.
const IMAGES_MAX: usize = 8;
/// More than a camera makes; models shrink them anyway.
const IMAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What models take, and how their files begin.
const TYPES: [(&str, &[u8]); 4] = [
    ("image/png", b"\x89PNG"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/webp", b"RIFF"),
    ("image/gif", b"GIF8"),
];
