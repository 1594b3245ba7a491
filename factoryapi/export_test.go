package factoryapi

// DecodePage lets tests and benchmarks decode without a server around it.
var DecodePage = decodePage

// NewTransport lets tests bring the client's own transport onto a network in memory.
var NewTransport = newTransport

// ReadWith lets a test say how long a key file takes to be read.
func (f *KeyFile) ReadWith(read func(path string) (string, error)) { f.read = read }
