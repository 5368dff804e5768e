//! What a password must be.

/// Characters of a password, at least.
pub const LEAST: usize = 12;
/// Bytes of a password, at most.
pub const MOST: usize = 1024;

/// Why a text is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too easy to guess.
    #[error("the password must have at least {LEAST} characters")]
    TooShort,
    /// Too much to hash.
    #[error("the password must have at most {MOST} bytes")]
    TooLong,
}

/// Whether a password will do. Length is what counts; rules about its characters make worse ones.
pub fn check(password: &str) -> Result<(), Unfit> {
    if password.chars().count() < LEAST {
        return Err(Unfit::TooShort);
    }
    if password.len() > MOST {
        return Err(Unfit::TooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts() {
        assert_eq!(check("elevenchars"), Err(Unfit::TooShort));
        assert_eq!(check("twelve chars"), Ok(()));
        assert_eq!(check(&"x".repeat(1025)), Err(Unfit::TooLong));
    }
}
