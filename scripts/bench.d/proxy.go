// A TCP balancer of the design that most Go programs of this kind have, as something to measure
// evener against: one goroutine per client and one per direction, io.Copy (which splices from
// socket to socket on Linux), round robin by an atomic counter, liveness behind a read-write lock,
// and a goroutine that checks the backends.
//
//	proxy LISTEN=BACKEND,BACKEND,… [LISTEN=BACKEND …]
package main

import (
	"errors"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	checkInterval  = 2 * time.Second
	checkTimeout   = 1 * time.Second
	connectTimeout = 5 * time.Second
	attemptsMax    = 3
)

var errNoBackend = errors.New("no backend is up")

// backend is one server; alive is written by the checker and read by every new connection.
type backend struct {
	address string
	mu      sync.RWMutex
	alive   bool
}

func (b *backend) isAlive() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.alive
}

func (b *backend) setAlive(alive bool) {
	b.mu.Lock()
	changed := b.alive != alive
	b.alive = alive
	b.mu.Unlock()
	if changed {
		log.Printf("backend %s: alive=%t", b.address, alive)
	}
}

// pool hands out its backends in turn; next only ever grows.
type pool struct {
	backends []*backend
	next     uint64
}

func newPool(addresses []string) *pool {
	p := &pool{}
	for _, address := range addresses {
		p.backends = append(p.backends, &backend{address: address, alive: true})
	}
	return p
}

// pick returns the next backend that is alive, or nil when there is none.
func (p *pool) pick() *backend {
	count := uint64(len(p.backends))
	first := atomic.AddUint64(&p.next, 1) - 1
	for step := uint64(0); step < count; step++ {
		if b := p.backends[(first+step)%count]; b.isAlive() {
			return b
		}
	}
	return nil
}

// connect tries one backend after the other, and remembers those that can't be reached.
func (p *pool) connect() (*net.TCPConn, error) {
	err := errNoBackend
	for attempt := 0; attempt < attemptsMax; attempt++ {
		b := p.pick()
		if b == nil {
			break
		}
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", b.address, connectTimeout); err == nil {
			return conn.(*net.TCPConn), nil
		}
		// A pool of one is never checked, so nothing would bring its backend back.
		if len(p.backends) > 1 {
			b.setAlive(false)
		}
	}
	return nil, err
}

// check probes all backends for ever, one after the other.
func (p *pool) check() {
	for range time.Tick(checkInterval) {
		for _, b := range p.backends {
			conn, err := net.DialTimeout("tcp", b.address, checkTimeout)
			if err == nil {
				conn.Close()
			}
			b.setAlive(err == nil)
		}
	}
}

// copyHalf moves one direction until its end, and passes the end on: the other direction may live.
func copyHalf(to, from *net.TCPConn, done chan<- struct{}) {
	io.Copy(to, from)
	to.CloseWrite()
	done <- struct{}{}
}

func (p *pool) serve(client *net.TCPConn) {
	defer client.Close()
	server, err := p.connect()
	if err != nil {
		log.Printf("client %s: %v", client.RemoteAddr(), err)
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	go copyHalf(server, client, done)
	copyHalf(client, server, done)
	<-done
	<-done
}

func (p *pool) listen(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatalf("error: can't listen: %v, try another address", err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Printf("accept: %v", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go p.serve(client.(*net.TCPConn))
	}
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("error: no listener, try: proxy 127.0.0.1:8080=127.0.0.1:8000,127.0.0.1:8001")
	}
	for _, argument := range os.Args[1:] {
		address, backends, found := strings.Cut(argument, "=")
		if !found {
			log.Fatalf("error: no backend in %q, try LISTEN=BACKEND,BACKEND", argument)
		}
		p := newPool(strings.Split(backends, ","))
		if len(p.backends) > 1 {
			go p.check()
		}
		go p.listen(address)
	}
	select {}
}
