//! Path and query of a page, each a type, or a page that says what is wrong.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::failure::Failure;

/// Ids of the path; what cannot be an id names nothing.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<T>::from_request_parts(head, state).await;
        path.map(|path| Self(path.0)).map_err(|_| Failure::NotFound)
    }
}

/// The query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::try_from_uri(&head.uri);
        query.map(|query| Self(query.0)).map_err(|_| {
            Failure::BadForm("What is behind the question mark of the address cannot be read. Follow a link, or leave it out.")
        })
    }
}
