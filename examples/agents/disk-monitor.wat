;; Fails when the disk below the data directory is fuller than {"max_used_percent": 95}.
(module
  (import "jos" "get" (func $get (param i32 i32) (result i32)))
  (import "jos" "read" (func $read (param i32 i32) (result i32)))
  (import "jos" "take" (func $take (param i32 i32) (result i32)))
  (import "jos" "propose" (func $propose (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/input/max_used_percent")
  (data (i32.const 32) "facts/disk")
  (data (i32.const 48) "advance")
  (data (i32.const 64) "disk_used_percent ")
  (data (i32.const 128) "{\"events\":[\"start\",\"complete\"],\"note\":\"the disk has room\"}")
  (data (i32.const 256) "{\"events\":[\"start\",\"fail\"],\"note\":\"the disk is fuller than the limit\"}")

  ;; The whole number that begins at $at.
  (func $number (param $at i32) (result i32)
    (local $n i32) (local $digit i32)
    (block $done
      (loop $next
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $done (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10)) (local.get $digit)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $n))

  ;; Where the 18 bytes at 64 stand in the text from 4096 to $end, or 0.
  (func $find (param $end i32) (result i32)
    (local $at i32) (local $i i32)
    (local.set $at (i32.const 4096))
    (block $none
      (loop $next
        (br_if $none (i32.gt_u (i32.add (local.get $at) (i32.const 18)) (local.get $end)))
        (local.set $i (i32.const 0))
        (block $differs
          (loop $same
            (br_if $differs (i32.ne
              (i32.load8_u (i32.add (local.get $at) (local.get $i)))
              (i32.load8_u (i32.add (i32.const 64) (local.get $i)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $same (i32.lt_u (local.get $i) (i32.const 18))))
          (return (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  (func (export "decide") (result i32)
    (local $n i32) (local $limit i32) (local $at i32)
    (local.set $limit (i32.const 95))
    (local.set $n (call $get (i32.const 0) (i32.const 23)))
    (if (i32.and (i32.gt_s (local.get $n) (i32.const 0)) (i32.lt_s (local.get $n) (i32.const 4)))
      (then
        (drop (call $take (i32.const 1024) (i32.const 4)))
        (local.set $limit (call $number (i32.const 1024)))))
    ;; Where it is denied, the reason that the host noted is the job's.
    (local.set $n (call $read (i32.const 32) (i32.const 10)))
    (if (i32.lt_s (local.get $n) (i32.const 0)) (then (return (i32.const 1))))
    (local.set $n (call $take (i32.const 4096) (i32.const 4096)))
    (local.set $at (call $find (i32.add (i32.const 4096) (local.get $n))))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 2))))
    (if (i32.gt_u (call $number (i32.add (local.get $at) (i32.const 18))) (local.get $limit))
      (then (call $propose (i32.const 48) (i32.const 7) (i32.const 256) (i32.const 70)))
      (else (call $propose (i32.const 48) (i32.const 7) (i32.const 128) (i32.const 58))))
    (i32.const 0)))
