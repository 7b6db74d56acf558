package server

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/kms"
	"github.com/kagimori/kagimori/internal/wire"
)

const (
	// maxUsedKeys bounds how many pairs of key and operation are counted one by one.
	maxUsedKeys = 10_000
	// scrapeTimeout is how long it may take to find the materials that expire.
	scrapeTimeout = 5 * time.Second
)

// keyMetrics are the metrics that name keys, as CloudWatch does. They are for operators
// alone, so they are there with an admin listener only.
// https://docs.aws.amazon.com/kms/latest/developerguide/monitoring-cloudwatch.html
type keyMetrics struct {
	clock    clock.Clock
	expiring func(context.Context) ([]kms.Expiring, error)
	requests *prometheus.CounterVec

	mu   sync.Mutex
	used map[usedKey]prometheus.Counter
}

// usedKey is a key and what it was used for; for ReEncrypt both keys.
type usedKey struct{ operation, key, source, destination string }

func newKeyMetrics(clk clock.Clock, expiring func(context.Context) ([]kms.Expiring, error)) *keyMetrics {
	return &keyMetrics{clock: clk, expiring: expiring, used: map[usedKey]prometheus.Counter{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "SuccessfulRequest", Help: "Successful calls of AWS KMS with a key, by key and operation, as CloudWatch has them. Those beyond the first 10000 pairs are counted without their key.",
		}, []string{"KeyArn", "SourceKeyArn", "DestinationKeyArn", "Operation"})}
}

// count counts a call that succeeded.
func (m *keyMetrics) count(operation *wire.Operation, call *api.Call) {
	keys := call.Trail.Resources
	if operation.Service != wire.KMS || len(keys) == 0 {
		return
	}
	k := usedKey{operation: operation.Name, key: keys[0].ARN}
	if operation.Name == "ReEncrypt" && len(keys) == 2 {
		k.key, k.source, k.destination = "", keys[0].ARN, keys[1].ARN
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.used[k]
	if c == nil {
		if len(m.used) >= maxUsedKeys {
			k = usedKey{operation: k.operation}
		}
		c = m.requests.WithLabelValues(k.key, k.source, k.destination, k.operation)
		m.used[k] = c
	}
	c.Inc()
}

var expirationDesc = prometheus.NewDesc("SecondsUntilKeyMaterialExpiration", "Time until imported key material expires, of the first one of a key, as CloudWatch has it.",
	[]string{"AccountId", "Region", "KeyId"}, nil)

// Describe implements prometheus.Collector.
func (m *keyMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.requests.Describe(ch)
	ch <- expirationDesc
}

// Collect implements prometheus.Collector.
func (m *keyMetrics) Collect(ch chan<- prometheus.Metric) {
	m.requests.Collect(ch)
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	expiring, err := m.expiring(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(expirationDesc, err)
		return
	}
	now := m.clock.Now()
	for _, e := range expiring {
		ch <- prometheus.MustNewConstMetric(expirationDesc, prometheus.GaugeValue, max(e.At.Sub(now).Seconds(), 0), e.Account, e.Region, e.KeyID)
	}
}
