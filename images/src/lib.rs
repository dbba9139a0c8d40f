//! The image pipeline behind `jos-image`: from a vendor's profile to signed packages and images.

pub mod formats;
