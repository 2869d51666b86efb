package migrations_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/migrations"
)

const (
	childDSN  = "HELIX_TEST_CHILD_DSN"
	childStop = "HELIX_TEST_CHILD_STOP" // after so many changes the child stops, and says so
)

// child is this test binary as a process that adopts at its start. It reports
// on its standard output.
func child() bool {
	dsn := os.Getenv(childDSN)
	if dsn == "" {
		return false
	}
	if err := startUp(dsn); err != nil {
		fmt.Println("error", err)
	}
	return true
}

func startUp(dsn string) error {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	if stop := os.Getenv(childStop); stop != "" {
		n, err := strconv.Atoi(stop)
		if err != nil {
			return err
		}
		db = sql.OpenDB(&interrupted{Connector: connector, left: n, at: func() {
			fmt.Println("stopped")
			select {} // until it is killed
		}})
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	adoption, err := migrations.Adopt(context.Background(), db, inUTC)
	if err != nil {
		return err
	}
	fmt.Println("applied", len(adoption.Migrations))
	return db.Close()
}

// process is a child; its lines are read from out.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (d *database) start(env ...string) *process {
	d.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(append(os.Environ(), childDSN+"="+d.server.DSN(d.name)), env...)
	p.cmd.Stderr = os.Stderr
	out := ok[io.ReadCloser](d.T)(p.cmd.StdoutPipe())
	p.in = ok[io.WriteCloser](d.T)(p.cmd.StdinPipe())
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.kill(d)
		}
	})
	p.expect(d, "ready")
	return p
}

func (p *process) line() string {
	p.out.Scan()
	return p.out.Text()
}

func (p *process) expect(d *database, want string) {
	d.Helper()
	if got := p.line(); got != want {
		d.Fatalf("a process says %q, want %q", got, want)
	}
}

func (p *process) begin(d *database) {
	d.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		d.Error(err)
	}
}

func (p *process) kill(d *database) {
	if err := p.cmd.Process.Kill(); err != nil {
		d.Error(err)
	}
	_ = p.cmd.Wait() // it says that it was killed
}

// Twenty processes start at once: one adopts and migrates, the others find it done.
func TestTwentyProcesses(t *testing.T) {
	onServers(t, func(d *database) {
		d.load("helix_locks_epoch.sql")
		var all []*process
		for range 20 {
			all = append(all, d.start())
		}
		for _, p := range all {
			p.begin(d)
		}
		applied := map[string]int{}
		for _, p := range all {
			applied[p.line()]++
			if err := p.cmd.Wait(); err != nil {
				d.Error(err)
			}
		}
		if all := fmt.Sprintf("applied %d", len(files(d.T))); applied[all] != 1 || applied["applied 0"] != 19 {
			d.Errorf("twenty processes said %v", applied)
		}
		d.has(olderTables["epoch"])
	})
}

// A process that is killed between any two changes leaves nothing that the next
// does not finish: neither tables nor a lock.
func TestKilledProcess(t *testing.T) {
	onServers(t, func(d *database) {
		points := 0
		for n := 0; ; n++ {
			d.clear()
			d.load("helix_locks_enum.sql")
			p := d.start(childStop + "=" + strconv.Itoa(n))
			p.begin(d)
			said := p.line()
			if strings.HasPrefix(said, "applied") {
				break
			}
			if said != "stopped" {
				d.Fatalf("after %d changes the process said %q", n, said)
			}
			points++
			p.kill(d)
			d.adopt(d.db)
			d.has(olderTables["enum"])
		}
		if points < 10 {
			d.Errorf("only %d points were reached", points)
		}
	})
}
