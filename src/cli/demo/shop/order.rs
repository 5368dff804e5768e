//! The shop's back end takes an order and reports it, as any merchant's does.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::{self, FromRequest as _, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::catalog::Product;
use super::consent::cookie;
use super::verdict::Verdict;
use super::{Shop, pages};
use crate::platform::outbound::{Answer, Reach, Request};

/// A form that takes longer to arrive is given up.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// As the shop modules in the field wait for the webhook.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// An order that was taken.
pub struct Order {
    pub id: String,
    pub product: &'static Product,
    pub quantity: u8,
    /// In dollars.
    pub total: String,
    pub verdict: Verdict,
}

#[derive(Deserialize)]
struct Sent {
    product: String,
    quantity: String,
    #[serde(default)]
    visitor_id: String,
    #[serde(default)]
    email: String,
}

/// What may be in a cart: 1 to 9 of a bag.
pub(super) fn quantity(text: &str) -> Option<u8> {
    text.parse().ok().filter(|quantity| (1..=9).contains(quantity))
}

/// `POST /shop/orders`
pub(super) async fn take(State(shop): State<Arc<Shop>>, request: extract::Request) -> Response {
    // Without the page's script the browser's cookie still tells who it is.
    let from_cookie = cookie(request.headers(), "_trdt_vid");
    let sent = match tokio::time::timeout(FORM_TIMEOUT, Form::<Sent>::from_request(request, &())).await {
        Ok(Ok(Form(sent))) => sent,
        Ok(Err(rejection)) => return pages::refused(rejection.status()),
        Err(_) => return pages::refused(StatusCode::REQUEST_TIMEOUT),
    };
    let Some((product, quantity)) = Product::find(&sent.product).zip(quantity(&sent.quantity)) else {
        return pages::refused(StatusCode::UNPROCESSABLE_ENTITY);
    };
    let id = format!("ORD-{:010X}", rand::random::<u64>() >> 24);
    let total = product.total(quantity);
    let mut event = json!({
        "conversion_id": id, "value": total, "currency": "USD",
        "products": [{ "id": product.id, "name": product.name, "quantity": quantity, "price": product.price() }],
    });
    let visitor_id = Some(sent.visitor_id).filter(|id| !id.is_empty()).or(from_cookie);
    if let Some(event) = event.as_object_mut() {
        add(event, "visitor_id", visitor_id.map(Value::from));
        let email = Some(sent.email).filter(|email| !email.is_empty());
        add(event, "user_data", email.map(|email| json!({ "email": email })));
    }
    let order = Order {
        verdict: Verdict::of(report(&shop, &event).await),
        product,
        quantity,
        total,
        id: id.clone(),
    };
    let page = format!("/shop/orders/{id}");
    shop.orders.insert(id, Arc::new(order));
    // A page of its own, so that a reload orders nothing.
    Redirect::to(&page).into_response()
}

fn add(event: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        event.insert(name.to_owned(), value);
    }
}

/// Tells the service, and reads what it answers. The order stands whatever comes of it; none when nothing came.
async fn report(shop: &Shop, event: &Value) -> Option<Answer> {
    let mut key = HeaderValue::try_from(format!("Bearer {}", shop.key.expose_secret())).ok()?;
    key.set_sensitive(true);
    let request = Request {
        method: Method::POST,
        url: shop.webhook.clone(),
        headers: HeaderMap::from_iter([
            (header::AUTHORIZATION, key),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]),
        body: event.to_string().into(),
        most_read: 64 << 10,
    };
    // The service is on this machine: no public address.
    let sending = shop.outbound.send(request, Reach::Anywhere);
    match tokio::time::timeout(WEBHOOK_TIMEOUT, sending).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the demo shop's call of the webhook failed");
            None
        }
        Err(_elapsed) => {
            tracing::warn!("the demo shop's call of the webhook took too long");
            None
        }
    }
}
