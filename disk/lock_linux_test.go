package disk

const rangeLocks = true
