//! What the shop sells, and the ads for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

/// A bag.
pub struct Product {
    /// As in URLs, and the name of its picture.
    pub id: &'static str,
    pub name: &'static str,
    pub text: &'static str,
    cents: u32,
}

pub const PRODUCTS: [Product; 3] = [
    Product {
        id: "tote",
        name: "Canvas tote",
        text: "Carries a market's worth of fruit and folds to nothing.",
        cents: 4_900,
    },
    Product {
        id: "weekender",
        name: "Weekender",
        text: "Two days of clothes, a book, and no wheels.",
        cents: 12_900,
    },
    Product {
        id: "rucksack",
        name: "Rucksack",
        text: "Waxed cotton against rain, leather against time.",
        cents: 9_950,
    },
];

impl Product {
    /// The one of this id.
    pub fn find(id: &str) -> Option<&'static Self> {
        PRODUCTS.iter().find(|product| product.id == id)
    }

    /// Of one, in dollars.
    pub fn price(&self) -> String {
        dollars(self.cents)
    }

    /// Of so many, in dollars.
    pub fn total(&self, quantity: u8) -> String {
        dollars(self.cents * u32::from(quantity))
    }
}

fn dollars(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A link as an ad network writes it.
pub struct Ad {
    pub name: &'static str,
    pub place: &'static str,
    pub headline: &'static str,
    pub text: &'static str,
    pub href: String,
    pub parameters: Vec<(&'static str, String)>,
}

/// The ads, each with a click id of its own, as each click on a real one has.
pub fn ads() -> [Ad; 3] {
    [
        Ad::new(
            ["search", "Ad beside search results"],
            [
                "Summer sale: canvas totes",
                "From $49. Free delivery in harbour towns.",
            ],
            "/shop/products/tote",
            ["google", "cpc", "summer_sale"],
            Some(("gclid", "Cj0KCQ")),
        ),
        Ad::new(
            ["social", "Ad in a social feed"],
            ["New: the Weekender", "Two days away, one bag. See what fits."],
            "/shop/products/weekender",
            ["facebook", "paid_social", "new_arrivals"],
            Some(("fbclid", "IwAR")),
        ),
        Ad::new(
            ["newsletter", "Link in a newsletter"],
            [
                "Letters from the harbour",
                "What is new on the shelves this month.",
            ],
            "/shop/",
            ["newsletter", "email", "july_news"],
            None,
        ),
    ]
}

impl Ad {
    fn new(
        [name, place]: [&'static str; 2],
        [headline, text]: [&'static str; 2],
        page: &str,
        [source, medium, campaign]: [&'static str; 3],
        click: Option<(&'static str, &'static str)>,
    ) -> Self {
        let mut parameters = vec![
            ("utm_source", source.to_owned()),
            ("utm_medium", medium.to_owned()),
            ("utm_campaign", campaign.to_owned()),
        ];
        parameters.extend(click.map(|(name, prefix)| {
            let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>());
            (name, format!("{prefix}{random}"))
        }));
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&parameters)
            .finish();
        Self {
            name,
            place,
            headline,
            text,
            href: format!("{page}?{query}"),
            parameters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_in_dollars_and_cents() {
        let rucksack = Product::find("rucksack").unwrap();
        assert_eq!(
            (rucksack.price(), rucksack.total(3)),
            ("99.50".into(), "298.50".into())
        );
        assert!(Product::find("../tote").is_none());
    }

    #[test]
    fn each_ad_has_a_click_id_of_its_own() {
        let [one, other] = [ads(), ads()].map(|[search, ..]| search.href);
        assert!(one.starts_with(
            "/shop/products/tote?utm_source=google&utm_medium=cpc&utm_campaign=summer_sale&gclid=Cj0KCQ"
        ));
        assert_ne!(one, other);
    }
}
