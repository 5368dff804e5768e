//! The shop's pages and files.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use uuid::Uuid;

use super::Shop;
use super::catalog::{self, Ad, PRODUCTS, Product};
use super::consent::Consent;
use super::order::{self, Order};
use super::verdict::Verdict;
use crate::platform::problem::Problem;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// Name, type, content.
const FILES: [(&str, &str, &str); 6] = [
    ("shop.js", SCRIPT, include_str!("shop.js")),
    ("shop.css", STYLE, include_str!("shop.css")),
    ("icon.svg", PICTURE, include_str!("icon.svg")),
    ("tote.svg", PICTURE, include_str!("tote.svg")),
    ("weekender.svg", PICTURE, include_str!("weekender.svg")),
    ("rucksack.svg", PICTURE, include_str!("rucksack.svg")),
];

type Named = Result<Path<String>, PathRejection>;

/// The path's name; one that is not even text names nothing.
fn name(named: Named) -> String {
    named.map_or_else(|_| String::new(), |Path(name)| name)
}

/// What every page has.
struct Frame {
    attribution_id: Uuid,
    consent: Consent,
}

impl Frame {
    fn new(shop: &Shop, headers: &HeaderMap) -> Self {
        Self {
            attribution_id: shop.attribution_id,
            consent: Consent::of(headers),
        }
    }
}

#[derive(Template)]
#[template(path = "cli/demo/shop/home.html")]
struct Home {
    frame: Frame,
    ads: [Ad; 3],
    products: &'static [Product],
}

#[derive(Template)]
#[template(path = "cli/demo/shop/product.html")]
struct OfProduct {
    frame: Frame,
    product: &'static Product,
}

#[derive(Template)]
#[template(path = "cli/demo/shop/checkout.html")]
struct Checkout {
    frame: Frame,
    product: &'static Product,
    quantity: u8,
    total: String,
}

#[derive(Template)]
#[template(path = "cli/demo/shop/order.html")]
struct OfOrder<'a> {
    frame: Frame,
    order: &'a Order,
    verdict: &'a Verdict,
}

#[derive(Template)]
#[template(path = "cli/demo/shop/missing.html")]
struct Missing {
    frame: Frame,
    what: String,
}

/// `GET /shop`
pub(super) async fn to_home() -> Redirect {
    Redirect::permanent("/shop/")
}

/// `GET /shop/`
pub(super) async fn home(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Response {
    html(&Home {
        frame: Frame::new(&shop, &headers),
        ads: catalog::ads(),
        products: &PRODUCTS,
    })
}

/// `GET /shop/products/{product}`
pub(super) async fn product(State(shop): State<Arc<Shop>>, product: Named, headers: HeaderMap) -> Response {
    let frame = Frame::new(&shop, &headers);
    let product = name(product);
    match Product::find(&product) {
        Some(product) => html(&OfProduct { frame, product }),
        None => missing(frame, format!("There is no bag called “{product}”.")),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Cart {
    product: String,
    quantity: String,
}

/// `GET /shop/checkout?product=&quantity=`
pub(super) async fn checkout(
    State(shop): State<Arc<Shop>>,
    cart: Result<Query<Cart>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let frame = Frame::new(&shop, &headers);
    let Query(cart) = cart.unwrap_or_default();
    let Some(product) = Product::find(&cart.product) else {
        return missing(frame, format!("There is no bag called “{}”.", cart.product));
    };
    let quantity = order::quantity(&cart.quantity).unwrap_or(1);
    html(&Checkout {
        frame,
        product,
        quantity,
        total: product.total(quantity),
    })
}

/// `GET /shop/orders/{order}`
pub(super) async fn order(State(shop): State<Arc<Shop>>, order: Named, headers: HeaderMap) -> Response {
    let frame = Frame::new(&shop, &headers);
    let order = name(order);
    match shop.orders.get(&order) {
        Some(order) => html(&OfOrder {
            frame,
            order: &order,
            verdict: &order.verdict,
        }),
        None => missing(
            frame,
            format!("There is no order “{order}”. Orders are kept for an hour."),
        ),
    }
}

/// `GET /shop/{file}`, and whatever is not there.
pub(super) async fn file(State(shop): State<Arc<Shop>>, file: Named, headers: HeaderMap) -> Response {
    let file = name(file);
    match FILES.iter().find(|(name, ..)| *name == file) {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, *kind)], *content).into_response(),
        None => missing(
            Frame::new(&shop, &headers),
            "This shop has no such page.".to_owned(),
        ),
    }
}

/// A form that no page of the shop sends.
pub(super) fn refused(status: StatusCode) -> Response {
    Problem::new(
        status,
        "bad_form",
        "Unusable form",
        "The shop's own forms are sent otherwise.",
    )
    .into_response()
}

fn missing(frame: Frame, what: String) -> Response {
    let mut response = html(&Missing { frame, what });
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => Problem::internal().caused_by(error).into_response(),
    }
}
