//! Lists: `limit` and `cursor` in, `data` and `next_cursor` out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{fault, invalid};
use crate::platform::problem::Problem;

/// Things of a page, at most.
const MOST: u16 = 100;
/// Things of a page unless told otherwise.
const USUALLY: u16 = 20;
/// Begins a cursor, should its form ever be another one.
const FORMAT: u8 = 1;

/// Which page is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// So many, at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u16>,
    /// Where the page begins: `next_cursor` of the one before. Opaque.
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The things.
    pub data: Vec<T>,
    /// Where the next page begins; null behind the last one.
    pub next_cursor: Option<String>,
}

impl Wanted {
    /// So many, at most.
    pub fn limit(&self) -> Result<u16, Problem> {
        match self.limit.unwrap_or(USUALLY) {
            limit @ 1..=MOST => Ok(limit),
            _ => Err(invalid(vec![fault(
                "limit",
                "out_of_range",
                format!("must be 1 to {MOST}"),
            )])),
        }
    }

    /// The ids that the page before ended with.
    pub fn after<const IDS: usize>(&self) -> Result<Option<[Uuid; IDS]>, Problem> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        match bytes.split_first() {
            Some((&FORMAT, ids)) if ids.len() == IDS * 16 => {
                let (ids, _) = ids.as_chunks::<16>();
                let mut found = [Uuid::nil(); IDS];
                for (id, bytes) in found.iter_mut().zip(ids) {
                    *id = Uuid::from_bytes(*bytes);
                }
                Ok(Some(found))
            }
            _ => Err(bad_cursor()),
        }
    }

    /// One id that the page before ended with.
    pub fn after_id(&self) -> Result<Option<Uuid>, Problem> {
        Ok(self.after::<1>()?.map(|[id]| id))
    }
}

/// Not a cursor of ours.
pub fn bad_cursor() -> Problem {
    invalid(vec![fault(
        "cursor",
        "unknown_cursor",
        "must be the next_cursor of a page of this list",
    )])
}

fn cursor(ids: &[Uuid]) -> String {
    let mut bytes = vec![FORMAT];
    for id in ids {
        bytes.extend_from_slice(id.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

impl<T> Page<T> {
    /// A page of what was found when one more than `limit` was asked for.
    pub fn of<const IDS: usize>(mut data: Vec<T>, limit: u16, ids: impl Fn(&T) -> [Uuid; IDS]) -> Self {
        let more = data.len() > usize::from(limit);
        data.truncate(usize::from(limit));
        let last = data.last().filter(|_| more);
        let next_cursor = last.map(|last| cursor(&ids(last)));
        Self { data, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let wanted = |cursor: &str| Wanted {
            limit: None,
            cursor: Some(cursor.to_owned()),
        };
        assert_eq!(wanted(&cursor(&ids)).after::<2>().unwrap(), Some(ids));
        for bad in ["", "x", "AAAA", &cursor(&ids[..1])] {
            assert!(wanted(bad).after::<2>().is_err(), "{bad}");
        }
        let page = Page::of(vec![1, 2, 3], 2, |n| [Uuid::from_u128(*n)]);
        assert_eq!(page.data, [1, 2]);
        assert_eq!(page.next_cursor, Some(cursor(&[Uuid::from_u128(2)])));
        assert_eq!(
            Page::of(vec![1, 2], 2, |n| [Uuid::from_u128(*n)]).next_cursor,
            None
        );
    }
}
