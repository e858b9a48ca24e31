// SPDX-License-Identifier: BSL-1.0

// A client of VFIO in Go: it makes system calls without the C library, through the package syscall. It takes a
// device from its group and then through iommufd, from open to close. Its exit status is 0 if all went well.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// The requests of VFIO and iommufd count from here.
const base = ';'<<8 | 100

const (
	getAPIVersion  = base + 0
	checkExtension = base + 1
	setIOMMU       = base + 2
	groupStatus    = base + 3
	setContainer   = base + 4
	unsetContainer = base + 5
	getDevice      = base + 6
	deviceInfo     = base + 7
	regionInfo     = base + 8
	setIRQs        = base + 10
	reset          = base + 11
	mapDMA         = base + 13
	unmapDMA       = base + 14
	bindIOMMUFD    = base + 18
	attach         = base + 19
	detach         = base + 20
	destroy        = base + 28
	allocIOAS      = base + 29
	mapIOAS        = base + 33
	unmapIOAS      = base + 34
)

const (
	type1v2   = 3
	pageSize  = 4096
	iova      = 0x100000
	readWrite = 3
	config    = 7 // the region of the configuration space
)

func check(what string, good bool, more ...any) {
	if !good {
		fmt.Fprintln(os.Stderr, append([]any{"go-client:", what}, more...)...)
		os.Exit(1)
	}
}

func ioctl(fd int, request, argument uintptr) (int, syscall.Errno) {
	made, _, err := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, argument)
	return int(made), err
}

// call makes an ioctl with a struct, which must succeed.
func call(what string, fd int, request uintptr, argument []byte) int {
	made, err := ioctl(fd, request, uintptr(unsafe.Pointer(&argument[0])))
	runtime.KeepAlive(argument)
	check(what, err == 0, err)
	return made
}

func open(path string) int {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	check("open "+path, err == nil, err)
	return fd
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		check("close", syscall.Close(fd) == nil)
	}
}

// words makes a struct of 32-bit numbers; wide appends 64-bit numbers.
func words(numbers ...uint32) []byte {
	var all []byte
	for _, n := range numbers {
		all = binary.LittleEndian.AppendUint32(all, n)
	}
	return all
}

func wide(to []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		to = binary.LittleEndian.AppendUint64(to, n)
	}
	return to
}

func address(memory []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&memory[0]))) }

// region returns the size and the offset of a region of a device.
func region(device int, index uint32) (int, int64) {
	info := wide(words(32, 0, index, 0), 0, 0)
	call("GET_REGION_INFO", device, regionInfo, info)
	return int(binary.LittleEndian.Uint64(info[16:])), int64(binary.LittleEndian.Uint64(info[24:]))
}

func useDevice(device int) {
	info := words(20, 0, 0, 0, 0)
	call("GET_INFO", device, deviceInfo, info)
	_, at := region(device, config)
	id := make([]byte, 4)
	n, err := syscall.Pread(device, id, at)
	check("pread of the identity", n == 4 && err == nil && id[0] != 0xff, n, err, id)
	command := make([]byte, 2)
	n, err = syscall.Pread(device, command, at+4)
	check("pread of the command", n == 2 && err == nil)
	command[0] |= 2
	n, err = syscall.Pwrite(device, command, at+4)
	check("pwrite of the command", n == 2 && err == nil, n, err)
	size, bar := region(device, 0)
	check("BAR 0", size >= pageSize, size)
	mapped, err := syscall.Mmap(device, bar, pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	check("mmap", err == nil, err)
	mapped[16] = 42
	seen := make([]byte, 1)
	n, err = syscall.Pread(device, seen, bar+16)
	check("the BAR is shared", n == 1 && err == nil && seen[0] == 42, n, err, seen)
	// A device has a position, which starts at BAR 0.
	n, err = syscall.Read(device, make([]byte, 16))
	check("read", n == 16 && err == nil, n, err)
	n, err = syscall.Read(device, seen)
	check("read behind it", n == 1 && err == nil && seen[0] == 42, n, err, seen)
	check("munmap", syscall.Munmap(mapped) == nil)
	if _, err := ioctl(device, reset, 0); err != 0 {
		check("RESET", err == syscall.ENOTTY, err)
	}
}

func legacy(name string, group string, memory []byte) {
	container := open("/dev/vfio/vfio")
	version, err := ioctl(container, getAPIVersion, 0)
	check("GET_API_VERSION", version == 0 && err == 0, err)
	has, err := ioctl(container, checkExtension, type1v2)
	check("CHECK_EXTENSION", has == 1 && err == 0, err)
	file := open("/dev/vfio/" + group)
	_, failed := syscall.Open("/dev/vfio/"+group, syscall.O_RDWR, 0)
	check("a second open", failed == syscall.EBUSY, failed)
	_, failed = syscall.Read(file, make([]byte, 4))
	check("read of a group", failed == syscall.EINVAL, failed)
	status := words(8, 0)
	call("GET_STATUS", file, groupStatus, status)
	check("a viable group", status[4]&1 != 0)
	call("SET_CONTAINER", file, setContainer, words(uint32(container)))
	_, err = ioctl(container, setIOMMU, type1v2)
	check("SET_IOMMU", err == 0, err)
	device := call("GET_DEVICE_FD", file, getDevice, append([]byte(name), 0))
	call("MAP_DMA", container, mapDMA, wide(words(32, readWrite), address(memory), iova, pageSize))
	useDevice(device)
	call("UNMAP_DMA", container, unmapDMA, wide(words(24, 0), iova, pageSize))
	closeAll(device)
	_, err = ioctl(file, unsetContainer, 0)
	check("UNSET_CONTAINER", err == 0, err)
	closeAll(file, container)
}

func iommufd(name string, memory []byte) {
	entries, err := os.ReadDir("/sys/bus/pci/devices/" + name + "/vfio-dev")
	check("vfio-dev", err == nil && len(entries) == 1, err)
	device := open("/dev/vfio/devices/" + entries[0].Name())
	fd := open("/dev/iommu")
	call("BIND_IOMMUFD", device, bindIOMMUFD, words(16, 0, uint32(fd), 0))
	space := words(12, 0, 0)
	call("IOAS_ALLOC", fd, allocIOAS, space)
	id := binary.LittleEndian.Uint32(space[8:])
	call("ATTACH_IOMMUFD_PT", device, attach, words(12, 0, id))
	// Fixed IOVA, writeable, readable.
	call("IOAS_MAP", fd, mapIOAS, wide(words(40, 7, id, 0), address(memory), pageSize, iova))
	useDevice(device)
	call("IOAS_UNMAP", fd, unmapIOAS, wide(words(24, id), iova, pageSize))
	call("DETACH_IOMMUFD_PT", device, detach, words(8, 0))
	call("DESTROY", fd, destroy, words(8, id))
	closeAll(device, fd)
}

func main() {
	name := os.Args[1]
	link, err := os.Readlink("/sys/bus/pci/devices/" + name + "/iommu_group")
	check("iommu_group", err == nil, err)
	group := link[strings.LastIndexByte(link, '/')+1:]
	memory, err := syscall.Mmap(-1, 0, pageSize, readWrite, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check("memory", err == nil, err)
	for round := 0; round < 2; round++ {
		legacy(name, group, memory)
		iommufd(name, memory)
	}
	check("munmap", syscall.Munmap(memory) == nil)
	fmt.Println("group and iommufd, two rounds")
}
