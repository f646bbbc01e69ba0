//! The decisions: pools, placement, the life of a VF, admission, recovery.
