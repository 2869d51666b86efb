package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// docker runs an engine's server in a container.
type docker struct {
	engine Engine
	image  string
	logf   func(string, ...any)
}

func dockerImage(e Engine) string {
	if e == MariaDB {
		return "mariadb:10.11"
	}
	return "mysql:9"
}

// findDocker says why not, where Docker cannot be used.
func findDocker(ctx context.Context, e Engine, logf func(string, ...any)) (*docker, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, errors.New("no docker on PATH")
	}
	// The client is often there without a daemon that answers.
	infoCtx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := runDocker(infoCtx, "info"); err != nil {
		return nil, err
	}
	return &docker{engine: e, image: dockerImage(e), logf: logf}, nil
}

// pull fetches the image beforehand, as that may take longer than a server
// may take to start.
func (d *docker) pull(ctx context.Context) error {
	if runDocker(ctx, "image", "inspect", d.image) == nil {
		return nil
	}
	d.logf("testserver: %s: pulling the Docker image %s", d.engine, d.image)
	return runDocker(ctx, "pull", d.image)
}

// serve is the command that runs the server in a container. It stays attached
// (no --detach): the client then is the server's process to us, it forwards
// SIGTERM, also the one sent when we are killed, its output is the server's
// log, and it ends when the server does. The data is on a volume, so that it
// outlives a killed container; --init makes SIGTERM end the image's
// initialisation too.
func (d *docker) serve(container, volume string, port int, env, extra []string) []string {
	argv := []string{
		"docker", "run", "--rm", "--init", "--name", container,
		"--publish", fmt.Sprintf("127.0.0.1:%d:3306", port),
		"--volume", volume + ":/var/lib/mysql",
	}
	if d.engine == MariaDB {
		argv = append(argv, "--env", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1", "--env", "MARIADB_ROOT_HOST=%")
	} else {
		argv = append(argv, "--env", "MYSQL_ALLOW_EMPTY_PASSWORD=1", "--env", "MYSQL_ROOT_HOST=%")
	}
	for _, e := range env {
		argv = append(argv, "--env", e)
	}
	argv = append(argv, d.image)
	argv = append(argv, d.engine.baseArgs()...)
	return append(argv, extra...)
}

func (d *docker) kill(ctx context.Context, container string) error {
	return runDocker(ctx, "kill", container)
}

// removeContainer succeeds when there is none.
func removeContainer(ctx context.Context, container string) error {
	return runDocker(ctx, "rm", "--force", "--volumes", container)
}

// removeVolume succeeds when there is none.
func removeVolume(ctx context.Context, volume string) error {
	return runDocker(ctx, "volume", "rm", "--force", volume)
}

func runDocker(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker %s: %w: %s", args[0], err, lastLines(out, 1))
	}
	return nil
}

// volumeMark is the file in a server's directory that says it has a volume of
// the directory's name.
const volumeMark = "docker-volume"

func markVolume(dir string) error {
	return os.WriteFile(filepath.Join(dir, volumeMark), nil, 0o644)
}

func hasVolume(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, volumeMark))
	return err == nil
}
