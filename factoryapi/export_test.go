package factoryapi

// DecodePage lets tests and benchmarks decode without a server around it.
var DecodePage = decodePage

// NewTransport lets tests bring the client's own transport onto a network in memory.
var NewTransport = newTransport
