//! Lists in pages (all revisions, "Pagination").

use serde_json::{Map, Value};

use super::dispatch::invalid;
use super::jsonrpc::RpcError;

/// The page of `entries` that a request asks for, and the cursor of the next one where there is
/// more. `list` is what the list is called: a cursor is good for the list that gave it alone.
/// Errors: -32602 for a cursor that this list did not give.
pub(super) fn page(
    list: &str,
    mut entries: Vec<Value>,
    params: &Map<String, Value>,
    entries_max: usize,
) -> Result<(Vec<Value>, Option<String>), RpcError> {
    let begins = match params.get("cursor") {
        None | Some(Value::Null) => 0,
        Some(cursor) => cursor
            .as_str()
            .and_then(|cursor| cursor.strip_prefix(list)?.strip_prefix('-')?.parse().ok())
            .filter(|begins| (1..entries.len()).contains(begins))
            .ok_or_else(|| invalid("unknown cursor; leave it out to begin anew".to_owned()))?,
    };
    let mut page = entries.split_off(begins);
    let more = page.len() > entries_max;
    page.truncate(entries_max);
    Ok((page, more.then(|| format!("{list}-{}", begins + entries_max))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(cursor: &Value) -> Result<(Vec<Value>, Option<String>), i32> {
        let entries = (0..5).map(Value::from).collect();
        let params = Map::from_iter([("cursor".to_owned(), cursor.clone())]);
        page("tools", entries, &params, 2).map_err(|error| error.code.0)
    }

    #[test]
    fn pages_follow_each_other_and_the_last_names_none() {
        let mut seen = Vec::new();
        let mut cursor = Value::Null;
        let mut pages = 0;
        loop {
            let (page, next) = ask(&cursor).unwrap();
            seen.extend(page);
            pages += 1;
            let Some(next) = next else { break };
            cursor = next.into();
        }
        assert_eq!((Value::Array(seen), pages), (json!([0, 1, 2, 3, 4]), 3));
    }

    #[test]
    fn a_cursor_that_was_never_given_is_refused() {
        for cursor in ["", "2", "tools", "tools-", "tools-0", "tools-5", "tools--1", "prompts-2"] {
            assert_eq!(ask(&cursor.into()), Err(-32602), "{cursor:?}");
        }
        assert_eq!(ask(&2.into()), Err(-32602));
    }
}
