package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/server/v3/embed"
)

// readyPrefix is what the child's line begins with that has its address.
const readyPrefix = "etcd is ready on "

// RunEtcd is the process that [StartEtcd] starts. The first line of stdin names
// the server's directory; when stdin or ctx ends, so does the server, and so it
// does not outlive who started it.
func RunEtcd(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	in := bufio.NewReader(stdin)
	dir, err := in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("peer: etcd: no directory in its input: %w: let StartEtcd start it", err)
	}
	config, err := etcdConfig(strings.TrimSpace(dir))
	if err != nil {
		return err
	}
	e, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("peer: etcd: could not start: %w", err)
	}
	defer e.Close()
	ended := make(chan struct{})
	go func() { // ends with the process, at the latest
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	}()
	select {
	case <-e.Server.ReadyNotify():
		if _, err := fmt.Fprintf(stdout, "%s%s\n", readyPrefix, e.Clients[0].Addr()); err != nil {
			return fmt.Errorf("peer: etcd: could not say its address: %w", err)
		}
	case <-ended:
		return nil
	case <-ctx.Done():
		return nil
	case err := <-e.Err():
		return fmt.Errorf("peer: etcd: ended before it was ready: %w", err)
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return nil
	case <-e.Server.StopNotify():
		return errors.New("peer: etcd: it stopped by itself: see its log")
	case err := <-e.Err():
		return fmt.Errorf("peer: etcd: ended: %w", err)
	}
}

// etcdConfig is the default configuration, on free ports and with a quiet log.
func etcdConfig(dir string) (*embed.Config, error) {
	local, err := url.Parse("http://127.0.0.1:0") // the kernel picks; a single member asks no other
	if err != nil {
		return nil, err
	}
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "data")
	c.LogLevel = "error"
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*local}, []url.URL{*local}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*local}, []url.URL{*local}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	return c, nil
}
