//! What a real client and a hostile one see.
