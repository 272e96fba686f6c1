package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"grantd/server/tracing"
	"grantd/storage"
)

// metrics are what /metrics on the admin listener tells. Labels are the mounted
// paths and status codes, never anything a caller sent.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	issued   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	swept    prometheus.Counter
	tracer   *tracing.Tracer // nil: no traces
}

func newMetrics(tracer *tracing.Tracer) *metrics {
	m := &metrics{
		tracer:   tracer,
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grantd_http_requests_total", Help: "Requests to the public listener, by mounted path, method and status.",
		}, []string{"path", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grantd_http_request_duration_seconds", Help: "How long requests to the public listener took, in seconds, by mounted path.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"path"}),
		issued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grantd_tokens_issued_total", Help: "Access tokens handed out, by grant type.",
		}, []string{"grant_type"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grantd_refusals_total", Help: "Requests to the public listener that were refused, by mounted path and error code.",
		}, []string{"path", "reason"}),
		swept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "grantd_swept_rows_total", Help: "Expired rows that this server has deleted.",
		}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.issued, m.refused, m.swept, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds what others count: the database's connections, and what is answered
// from memory. They ask nobody.
func (m *metrics) watch(pool func() storage.Pool, catalog, verified func() (hits, misses int64)) {
	for _, gauge := range []struct {
		name, help string
		of         func(storage.Pool) int
	}{
		{"grantd_database_connections_max", "Connections to the database there may be.", func(p storage.Pool) int { return p.Max }},
		{"grantd_database_connections_open", "Connections to the database there are.", func(p storage.Pool) int { return p.Open }},
		{"grantd_database_connections_in_use", "Connections to the database in use.", func(p storage.Pool) int { return p.InUse }},
		{"grantd_database_calls", "Database calls under way, those that wait for a connection included.", func(p storage.Pool) int { return p.Calls }},
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: gauge.name, Help: gauge.help}, func() float64 { return float64(gauge.of(pool())) }))
	}
	count := func(name, help string, labels prometheus.Labels, of func() int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(of()) }))
	}
	count("grantd_database_waits_total", "Database calls that found no free connection.", nil, func() int64 { return pool().Waits })
	count("grantd_database_refusals_total", "Database calls that were turned away because too many waited.", nil, func() int64 { return pool().Refused })
	for name, read := range map[string]func() (hits, misses int64){"catalog": catalog, "tokens": verified} {
		const metric, help = "grantd_cache_lookups_total", "Lookups in memory, by cache and whether it was there."
		count(metric, help, prometheus.Labels{"cache": name, "result": "hit"}, func() int64 { hits, _ := read(); return hits })
		count(metric, help, prometheus.Labels{"cache": name, "result": "miss"}, func() int64 { _, misses := read(); return misses })
	}
}

// measure counts and times the requests to one mounted path.
func (m *metrics) measure(path string, next http.Handler) http.Handler {
	duration := m.duration.WithLabelValues(path)
	var counters sync.Map // of the outcomes there have been, to its counter
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		r, end := m.tracer.Start(r, path, knownMethod(r.Method))
		defer func() {
			end(recorder.status, recorder.reason)
			duration.Observe(time.Since(began).Seconds())
			o := outcome{knownMethod(r.Method), recorder.status}
			counter, ok := counters.Load(o)
			if !ok {
				counter, _ = counters.LoadOrStore(o, m.requests.WithLabelValues(path, o.method, strconv.Itoa(o.status)))
			}
			counter.(prometheus.Counter).Inc()
			if recorder.reason != "" {
				m.refused.WithLabelValues(path, recorder.reason).Inc()
			}
		}()
		next.ServeHTTP(recorder, r)
	})
}

// traced traces the requests to a room without counting them.
func (m *metrics) traced(path string, next http.Handler) http.Handler {
	if m.tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		r, end := m.tracer.Start(r, path, knownMethod(r.Method))
		defer func() { end(recorder.status, recorder.reason) }()
		next.ServeHTTP(recorder, r)
	})
}

// outcome is what the requests to one path are told apart by.
type outcome struct {
	method string
	status int
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// statusRecorder remembers the status that was answered, and why a request was
// refused.
type statusRecorder struct {
	http.ResponseWriter
	status int
	reason string
}

// Refused is told by web.Refused.
func (w *statusRecorder) Refused(reason string) { w.reason = reason }

func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// knownMethod keeps made-up methods from becoming labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
