package apikey

// ReadWith lets a test say how long a key file takes to be read.
func (f *File) ReadWith(read func(path string) (string, error)) { f.read = read }
