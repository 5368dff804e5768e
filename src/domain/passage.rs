//! Sites that a visitor only passes through and comes back from: they bring nobody.

/// Who takes payments, and the banks' pages that confirm them.
const PAYS: &[&str] = &[
    "2checkout.com",
    "3dsecure.io",
    "adyen.com",
    "affirm.com",
    "afterpay.com",
    "alipay.com",
    "apple-pay-gateway.apple.com",
    "arcot.com",
    "authorize.net",
    "bambora.com",
    "bancontact.com",
    "barion.com",
    "billdesk.com",
    "bitpay.com",
    "braintreegateway.com",
    "buckaroo.nl",
    "cardinalcommerce.com",
    "ccavenue.com",
    "checkout.com",
    "clearpay.co.uk",
    "commerce.coinbase.com",
    "comgate.cz",
    "computop-paygate.com",
    "cybersource.com",
    "datatrans.com",
    "eway.com.au",
    "giropay.de",
    "gocardless.com",
    "gopay.com",
    "ideal.nl",
    "iyzipay.com",
    "klarna.com",
    "mercadopago.com",
    "mercadopago.com.ar",
    "mercadopago.com.br",
    "mercadopago.com.mx",
    "mobilepay.dk",
    "modirum.com",
    "mollie.com",
    "multisafepay.com",
    "nets.eu",
    "netseasy.eu",
    "novalnet.de",
    "opayo.co.uk",
    "pagseguro.uol.com.br",
    "pay.amazon.com",
    "pay.google.com",
    "pay.nl",
    "paydirekt.de",
    "payments-amazon.com",
    "payments.amazon.co.uk",
    "payments.amazon.com",
    "payments.amazon.de",
    "payone.com",
    "paypal.com",
    "paysafecard.com",
    "paytm.in",
    "paytrail.com",
    "payu.com",
    "payu.in",
    "phonepe.com",
    "postfinance.ch",
    "przelewy24.pl",
    "quickpay.net",
    "razorpay.com",
    "riverty.com",
    "saferpay.com",
    "sagepay.com",
    "securesuite.net",
    "sezzle.com",
    "shop.app",
    "skrill.com",
    "sofort.com",
    "squareup.com",
    "stripe.com",
    "sumup.com",
    "swish.nu",
    "tabby.ai",
    "tamara.co",
    "tpay.com",
    "trustly.com",
    "twint.ch",
    "unzer.com",
    "vipps.no",
    "vivapayments.com",
    "wlp-acs.com",
    "worldpay.com",
    "zip.co",
];

/// Where an account elsewhere is signed in with.
const SIGNS_IN: &[&str] = &[
    "account.live.com",
    "accounts.google.com",
    "accounts.shopify.com",
    "appleid.apple.com",
    "auth0.com",
    "b2clogin.com",
    "login.live.com",
    "login.microsoftonline.com",
    "login.yahoo.com",
    "okta.com",
    "onelogin.com",
];

/// Whether the host, in lower case, is one of theirs or below it.
pub fn is_passage(host: &str) -> bool {
    let below = |site: &&&str| {
        let rest = host.strip_suffix(**site);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    PAYS.iter().chain(SIGNS_IN).any(|site| below(&site))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_passed_through() {
        for host in [
            "paypal.com",
            "checkout.stripe.com",
            "pay.klarna.com",
            "pay.google.com",
            "payments.amazon.de",
            "secure.przelewy24.pl",
            "centinelapi.cardinalcommerce.com",
            "accounts.google.com",
            "login.microsoftonline.com",
            "dev-1.eu.auth0.com",
        ] {
            assert!(is_passage(host), "{host}");
        }
        for host in [
            "notpaypal.com",
            "stripe.com.evil.example",
            "google.com",
            "docs.google.com",
            "amazon.de",
            "apple.com",
            "shopify.com",
            "live.com",
            "",
        ] {
            assert!(!is_passage(host), "{host}");
        }
    }
}
