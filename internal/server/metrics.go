package server

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/events"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/translog"
	"github.com/kagimori/kagimori/internal/wire"
)

// metrics is what /metrics shows.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	ops      map[*wire.Operation]operationMetrics // of every operation of the tables
	other    operationMetrics                     // everything else
	keys     *keyMetrics
	keyed    atomic.Bool // keys is shown, and so counted
}

// operationMetrics are those of one operation, looked up once.
type operationMetrics struct {
	service, name string

	success prometheus.Counter
	seconds prometheus.Observer
}

func newMetrics(stats func() journal.Stats, journalErr, storeErr func() error, transparency *translog.Log, index *eventindex.Index, rules *events.Service) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), ops: map[*wire.Operation]operationMetrics{}}
	m.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kagimori_calls_total", Help: "Calls by service, operation and result: Success or the error code.",
	}, []string{"service", "operation", "result"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kagimori_call_seconds", Help: "Time from the end of a call's header to its answer, which its durable record precedes.",
		Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
	}, []string{"service", "operation"})
	row := func(service, name string) operationMetrics {
		return operationMetrics{service, name, m.calls.WithLabelValues(service, name, "Success"), seconds.WithLabelValues(service, name)}
	}
	for _, service := range wire.Services {
		for _, op := range service.Operations {
			m.ops[op] = row(service.Name, op.Name)
		}
	}
	m.other = row("", "Unknown")

	up := func(name, help string, err func() error) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if err() != nil {
				return 0
			}
			return 1
		})
	}
	counter := func(name, help string, value func(journal.Stats) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return value(stats()) })
	}
	delivery := func(result string, value func(events.Stats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "kagimori_event_deliveries_total", Help: "Tries to deliver events to targets of rules, by result: Delivered, Retried, DeadLetter or Dropped.",
			ConstLabels: prometheus.Labels{"result": result}}, func() float64 { return float64(value(rules.Stats())) })
	}
	m.registry.MustRegister(m.calls, seconds,
		delivery("Delivered", func(s events.Stats) uint64 { return s.Delivered }),
		delivery("Retried", func(s events.Stats) uint64 { return s.Retried }),
		delivery("DeadLetter", func(s events.Stats) uint64 { return s.DeadLetters }),
		delivery("Dropped", func(s events.Stats) uint64 { return s.Dropped }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kagimori_event_deliveries_pending", Help: "Events that wait to be delivered to targets of rules."},
			func() float64 { return float64(rules.Stats().Pending) }),
		up("kagimori_journal_up", "1 while audit records can be written.", journalErr),
		up("kagimori_store_up", "1 while changes can be stored.", storeErr),
		up("kagimori_transparency_up", "1 while the transparency log agrees with the journal and is extended.", transparency.Err),
		up("kagimori_index_up", "1 while audit records can be looked up.", index.Err),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kagimori_transparency_records", Help: "Audit records that the last signed checkpoint is about."},
			func() float64 { return float64(transparency.Size()) }),
		counter("kagimori_journal_records_total", "Audit records written.", func(s journal.Stats) float64 { return float64(s.Records) }),
		counter("kagimori_journal_bytes_total", "Bytes of audit records written.", func(s journal.Stats) float64 { return float64(s.Bytes) }),
		counter("kagimori_journal_syncs_total", "Syncs of the journal; records share them.", func(s journal.Stats) float64 { return float64(s.Groups) }),
		counter("kagimori_journal_sync_seconds_total", "Time that syncs of the journal took.", func(s journal.Stats) float64 { return s.SyncTime.Seconds() }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) observe(operation *wire.Operation, call *api.Call, failure *callError, d time.Duration) {
	row, ok := m.ops[operation]
	if !ok {
		row = m.other
	}
	if failure == nil {
		row.success.Inc()
		if m.keyed.Load() {
			m.keys.count(operation, call)
		}
	} else {
		m.calls.WithLabelValues(row.service, row.name, failure.Code).Inc()
	}
	row.seconds.Observe(d.Seconds())
}

// handler shows the metrics; with keyed those that name keys too, which are counted from
// then on.
func (m *metrics) handler(keyed bool) http.Handler {
	if !keyed {
		return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	}
	m.keyed.Store(true)
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.keys)
	return promhttp.HandlerFor(prometheus.Gatherers{m.registry, registry}, promhttp.HandlerOpts{})
}
