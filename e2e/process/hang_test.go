package process_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// canMount reports whether a file system in user space can be mounted here.
func canMount(t *testing.T) bool {
	dir := t.TempDir()
	device, err := mountFUSE(dir)
	if err != nil {
		t.Logf("cannot mount: %v", err)
		return false
	}
	_ = syscall.Unmount(dir, syscall.MNT_DETACH) // closing the device ends it as well
	device.Close()
	return true
}

func mountFUSE(dir string) (device *os.File, err error) {
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0) // blocking, as reads of it must be
	if err != nil {
		return nil, err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", fd, os.Getuid(), os.Getgid())
	if err := syscall.Mount("hang", dir, "fuse", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}

// hang mounts a file system whose server answers nothing but the mount itself, like a
// server on a network that is gone, until the test ends.
func hang(t *testing.T, dir string) {
	t.Helper()
	device, err := mountFUSE(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_FORCE|syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
		device.Close()
	})
	// The first request is INIT. Its answer has a header with the id of the request, and
	// version 7.8 of the protocol. No other request is read.
	request, answer := make([]byte, 1<<17), make([]byte, 16+24)
	if _, err := device.Read(request); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(answer, uint32(len(answer)))
	copy(answer[8:16], request[8:16])
	binary.LittleEndian.PutUint32(answer[16:], 7)
	binary.LittleEndian.PutUint32(answer[20:], 8)
	if _, err := device.Write(answer); err != nil {
		t.Fatal(err)
	}
}
