//! What a user agent tells of itself.

use std::sync::LazyLock;

use isbot::Bots;
use woothee::parser::Parser;

use super::device::Device;

static KNOWN: LazyLock<Bots> = LazyLock::new(|| {
    let mut known = Bots::default();
    // A browser that people use; the search engine of that name calls itself a spider as well.
    known.remove(&["sogou"]);
    known
});

/// What it tells, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserAgent {
    /// The kind of device; none where it is unknown.
    pub device: Option<Device>,
    /// Whether it says that it is a program that reads pages for nobody: a search engine, a preview, a monitor.
    pub crawler: bool,
}

impl UserAgent {
    /// Reads the header's text.
    pub fn read(text: &str) -> Self {
        let category = Parser::new().parse(text).map_or("", |told| told.category);
        let device = match category {
            "pc" => Some(Device::Desktop),
            "smartphone" | "mobilephone" => Some(Device::Mobile),
            "appliance" => Some(Device::Other),
            _ => None,
        };
        let crawler = category == "crawler" || KNOWN.is_bot(text);
        Self { device, crawler }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_say_so() {
        let crawlers = [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
            "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
            "curl/8.5.0",
        ];
        for user_agent in crawlers {
            assert!(UserAgent::read(user_agent).crawler, "{user_agent}");
        }
        let people = [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
            "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/480.0.0.0]",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/340.0 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/49.0.2623.221 Safari/537.36 SE 2.X MetaSr 1.0 Sogou",
            "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
            "",
        ];
        for user_agent in people {
            assert!(!UserAgent::read(user_agent).crawler, "{user_agent}");
        }
    }

    #[test]
    fn devices() {
        let table = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                Some(Device::Desktop),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                Some(Device::Mobile),
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
                Some(Device::Mobile),
            ),
            (
                "Mozilla/5.0 (PlayStation 4 3.11) AppleWebKit/537.73 (KHTML, like Gecko)",
                Some(Device::Other),
            ),
            ("curl/8.5.0", None),
            ("", None),
        ];
        for (user_agent, expected) in table {
            assert_eq!(UserAgent::read(user_agent).device, expected, "{user_agent}");
        }
    }
}
