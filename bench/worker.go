package main

import (
	"context"
	"io"
)

const workerSubcommand = "worker"

func runWorker(ctx context.Context, in io.Reader, out io.Writer) error { return nil }
