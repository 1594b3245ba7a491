package factoryapi

// DecodePage lets tests and benchmarks decode without a server around it. next is the
// cursor of the next page, empty if there is none.
func DecodePage(body []byte, memory []User) (users []User, next string, err error) {
	users, page, err := decode(body, usersForm(), memory, (*walker).user)
	if page.hasMore && err == nil {
		next = page.cursor
	}
	return users, next, err
}

// NewTransport lets tests bring the client's own transport onto a network in memory.
var NewTransport = newTransport

// ParseDay reads a day as String writes it.
var ParseDay = parseDay
