//! This machine: PCI, SR-IOV, netlink, driver binding, IOMMU groups, uevents.
